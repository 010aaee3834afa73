"""Keras layers of ATRank and its baselines; they work on flat values and know nothing of files."""

from atrank_tf.layers.attention_block import AttentionBlock
from atrank_tf.layers.behavior_encoder import BehaviorEncoder
from atrank_tf.layers.candidate_look_up import CandidateLookUp
from atrank_tf.layers.embedding_table import EmbeddingTable
from atrank_tf.layers.latent_attention import LatentAttention
from atrank_tf.layers.object_bias import ObjectBias
from atrank_tf.layers.object_encoder import ObjectEncoder
from atrank_tf.layers.recency import Recency
from atrank_tf.layers.recurrence import Recurrence
from atrank_tf.layers.relative_time_bias import RelativeTimeBias
from atrank_tf.layers.token_encoder import TokenEncoder

__all__ = [
    "AttentionBlock",
    "BehaviorEncoder",
    "CandidateLookUp",
    "EmbeddingTable",
    "LatentAttention",
    "ObjectBias",
    "ObjectEncoder",
    "Recency",
    "Recurrence",
    "RelativeTimeBias",
    "TokenEncoder",
]
