"""Who may ask the endpoint, and that nobody listens: a token, and TLS."""

import dataclasses
import hmac
import ssl
from pathlib import Path

import grpc

from data_pipeline.core.errors import UserError

UNAUTHENTICATED = "expected the header Authorization: Bearer TOKEN, with the server's token"


@dataclasses.dataclass(frozen=True)
class Security:
    """What clients must bring, and what the server proves itself with.

    Attributes:
        certificate: File of the certificate chain, PEM; None for connections without TLS.
        key: File of its private key, PEM.
        token: What clients send as `Authorization: Bearer TOKEN`; "" for any client.

    Example:

    >>> Security(token="secret").allows("Bearer secret"), Security(token="secret").allows("")
    (True, False)
    >>> Security().allows("")
    True
    """

    certificate: Path | None = None
    key: Path | None = None
    token: str = ""

    @classmethod
    def of_files(cls, certificate: str, key: str, token_file: str) -> "Security":
        """Reads what the flags of the endpoint name; "" for none.

        Raises:
            UserError: A file cannot be read or is not what it should be, or one of certificate and
                key is missing.

        Example:

        >>> Security.of_files("server.pem", "", "")
        Traceback (most recent call last):
        data_pipeline.core.errors.UserError: --tls_certificate and --tls_key: give both, or none
        """
        if bool(certificate) != bool(key):
            raise UserError("--tls_certificate and --tls_key: give both, or none")
        token = _token(Path(token_file)) if token_file else ""
        if not certificate:
            return cls(token=token)
        security = cls(Path(certificate), Path(key), token)
        try:
            security.ssl_context()
        except (ssl.SSLError, OSError, ValueError) as error:
            raise UserError(
                f"{certificate}, {key}: expected a certificate and its key, both PEM ({error})"
            ) from error
        return security

    def allows(self, authorization: str) -> bool:
        """Returns whether a client may ask, by the value of its header `Authorization`."""
        expected = f"Bearer {self.token}"
        return not self.token or hmac.compare_digest(authorization.encode(), expected.encode())

    def ssl_context(self) -> ssl.SSLContext | None:
        """Returns what REST is encrypted with; None where it is not."""
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def grpc_credentials(self) -> grpc.ServerCredentials | None:
        """Returns what gRPC is encrypted with; None where it is not."""
        if self.certificate is None or self.key is None:
            return None
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_credentials([pair])


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        token = ""
    if not token.isprintable() or len(token.split()) != 1:
        raise UserError(f"{path}: expected a token of ASCII letters, digits and signs on one line")
    return token
