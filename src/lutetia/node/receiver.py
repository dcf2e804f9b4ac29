"""The DICOM receiver of a trial: C-ECHO and C-STORE over TCP, one named sender at a time.

Every object goes to `lutetia.workflow.dicom_intake`, which decides; nothing is written here. An association is accepted
only for our own title and a sender that a site has named. Nagle's algorithm is off at our end (TCP_NODELAY): small
commands would otherwise wait for acknowledgements.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from lutetia.errors import InputError, LutetiaError
from lutetia.imaging.pseudonymise import admissible_classes
from lutetia.trial.store import Trial
from lutetia.workflow.dicom_intake import Identities, Received, receive_object, site_of_sender

TITLE = "LUTETIA"
SUCCESS, CANNOT_UNDERSTAND, OUT_OF_RESOURCES, NOT_AUTHORISED = 0x0000, 0xC000, 0xA700, 0x0124
#: Objects of other kinds are accepted too, so that they land in quarantine with a reason and not in a lost message.
OTHERS = ("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.88.33")
UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
#: Run lengths, JPEG, JPEG-LS and JPEG 2000, each without loss: taken where the decoder is installed, since a sender
#: that is refused one sends uncompressed, while an image that cannot be decoded is of no use to anybody.
COMPRESSED = ("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90")
MAX_ASSOCIATIONS = 10
IDLE_S = 60
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Node:
    """A running receiver; `port` is the one it listens on."""

    server: Any
    port: int

    def stop(self) -> None:
        """End all associations and the server."""
        self.server.shutdown()


def start_node(
    trial: Trial,
    identities: Identities,
    *,
    port: int = 11112,
    title: str = TITLE,
    report: Callable[[Received], None] = lambda received: None,
) -> Node:
    """Start the receiver on the loopback address in its own threads.

    Parameters
    ----------
    port
        0 takes a free one.
    report
        Called with what became of each object.

    Raises
    ------
    InputError
        If the port is taken.
    """
    entity = AE(ae_title=title)
    entity.require_called_aet = True
    entity.maximum_associations = MAX_ASSOCIATIONS
    entity.network_timeout = IDLE_S
    syntaxes = [*UNCOMPRESSED, *(uid for uid in COMPRESSED if get_decoder(UID(uid)).is_available)]
    entity.supported_contexts = [build_context(uid, syntaxes) for uid in (Verification, *admissible_classes(), *OTHERS)]
    handlers: list[Any] = [
        (evt.EVT_CONN_OPEN, _no_delay),
        (evt.EVT_REQUESTED, _check_sender, [trial]),
        (evt.EVT_C_STORE, _store, [trial, identities, report]),
    ]
    try:
        server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    except OSError as error:
        raise InputError(f"DICOM node: port {port} cannot be used ({error.strerror}); choose another --port") from error
    assert server is not None
    assert server.socket is not None
    return Node(server, int(server.socket.getsockname()[1]))


def _no_delay(event: Any) -> None:
    connection = event.assoc.dul.socket.socket
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _check_sender(event: Any, trial: Trial) -> None:
    """Reject an association of a sender that no site has named."""
    sender = str(event.assoc.requestor.primitive.calling_ae_title).strip()
    with trial.read() as reader:
        known = site_of_sender(reader, sender)
    if known is None:
        _log.warning("association of an unknown sender rejected")
        event.assoc.acse.send_reject(0x01, 0x01, 0x03)  # permanent, service user, calling title not recognised
        event.assoc.kill()


def _store(event: Any, trial: Trial, identities: Identities, report: Callable[[Received], None]) -> int:
    """Take one object; the sender learns whether it arrived, not what it was worth."""
    try:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        received = receive_object(trial, identities, dataset, sender=str(event.assoc.requestor.ae_title).strip())
    except InputError as error:
        _log.warning("object refused: %s", error)
        return NOT_AUTHORISED
    except LutetiaError as error:
        _log.error("object not stored: %s", error)
        return OUT_OF_RESOURCES
    except (ValueError, AttributeError, LookupError, TypeError, ArithmeticError, RuntimeError, EOFError, struct.error):
        # Whatever a damaged object makes the library say may repeat its values: the log says only that it came.
        _log.error("object could not be read")
        return CANNOT_UNDERSTAND
    report(received)
    return SUCCESS
