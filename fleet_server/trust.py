"""The parts of the trust chain, joined: online keys, both repositories, and the keys to try out with."""

from dataclasses import dataclass

from fleet_server.config import ServerConfig
from fleet_server.services.announcements import Announcer
from fleet_server.services.assignments import Assigner
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import Clock
from fleet_server.services.director import Director
from fleet_server.services.online_keys import OnlineKeys, load_online_keys
from fleet_server.services.releases import ImageRepository
from fleet_server.services.tryout import RunTrainer, TryOut
from fleet_server.services.yanks import Yanks
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database


@dataclass(frozen=True, slots=True)
class Trust:
    """The trust chain of one server."""

    keys: OnlineKeys
    image: ImageRepository
    director: Director
    tryout: TryOut

    def begin(self, database: Database, now: int) -> None:
        """Record keys that were made, and make what is tried out with.

        Raises:
            fleet_server.services.tryout.TrainerError: the release keys to try out with cannot be made.
            fleet_server.store.errors.UnavailableError: the database cannot be written now.
        """
        with database.write() as connection:
            for name in self.keys.made:
                detail = {"keyid": self.keys.keyids[name]}
                record_audit(connection, now, "server", "online_key_made", name, detail)
        self.tryout.begin()


def build_trust(
    config: ServerConfig,
    database: Database,
    artifacts: ArtifactFolder,
    parts: tuple[Assigner, Announcer],
    clock: Clock,
    trainer: RunTrainer,
) -> Trust:
    """Join the parts; online keys are made on the first call.

    Raises:
        OSError: the keys' folder cannot be read or written.
        ValueError: a key there cannot be used.
    """
    folder = config.data_dir / "keys"
    keys = load_online_keys(folder, config.key_passphrase)
    image = ImageRepository(database, artifacts, keys, Yanks(*parts), parts[1], clock)
    tryout = TryOut(database, artifacts, image, folder, trainer, clock, allowed=config.makes_keys)
    return Trust(keys, image, Director(keys.director, clock), tryout)
