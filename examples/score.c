/* Scores serialized tf.Examples with an exported model, without Python.

   score SAVED_MODEL INPUT OUTPUT INDEX FILE...

   INPUT and OUTPUT:INDEX are the tensors of the signature `score_examples`, which
   `saved_model_cli show --dir SAVED_MODEL --tag_set serve --signature_def score_examples`
   names; each FILE holds one example. The scores are printed, a line for each.

   Built against the TensorFlow that pip installs, in the directory TF:

   gcc -I TF/include score.c -o score TF/libtensorflow_cc.so.2 TF/libtensorflow_framework.so.2 \
     -Wl,-rpath,TF                                                                            */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void check(TF_Status *status) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "error: %s\n", TF_Message(status));
  exit(1);
}

static void read_file(const char *path, TF_TString *into) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    fprintf(stderr, "error: %s: cannot be read\n", path);
    exit(1);
  }
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  char *bytes = malloc(size > 0 ? size : 1);
  size_t length = fread(bytes, 1, size, file);
  fclose(file);
  TF_StringInit(into);
  TF_StringCopy(into, bytes, length);
  free(bytes);
}

static TF_Operation *operation(TF_Graph *graph, const char *name) {
  TF_Operation *named = TF_GraphOperationByName(graph, name);
  if (named != NULL) return named;
  fprintf(stderr, "error: %s: no such operation\n", name);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc < 6) {
    fprintf(stderr, "usage: score SAVED_MODEL INPUT OUTPUT INDEX FILE...\n");
    return 2;
  }
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);

  int64_t count = argc - 5;
  TF_Tensor *examples = TF_AllocateTensor(TF_STRING, &count, 1, count * sizeof(TF_TString));
  TF_TString *texts = TF_TensorData(examples);
  for (int64_t i = 0; i < count; i++) read_file(argv[5 + i], &texts[i]);

  TF_Output input = {operation(graph, argv[2]), 0};
  TF_Output output = {operation(graph, argv[3]), atoi(argv[4])};
  TF_Tensor *scores = NULL;
  TF_SessionRun(session, NULL, &input, &examples, 1, &output, &scores, 1, NULL, 0, NULL, status);
  check(status);
  const float *values = TF_TensorData(scores);
  for (int64_t i = 0; i < count; i++) printf("%.7g\n", values[i]);

  for (int64_t i = 0; i < count; i++) TF_StringDealloc(&texts[i]);
  TF_DeleteTensor(scores);
  TF_DeleteTensor(examples);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
