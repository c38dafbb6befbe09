"""What `networld mesh` is asked to do, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from networld_runtime.config import BrokerConfig
from networld_runtime.errors import ConfigError
from networld_runtime.mesh.topics import NAME_PATTERN
from networld_training.mesh.seen_mesh import ALL_SITES

PORT, TLS_PORT = 1883, 8883
AS_FAST_AS_POSSIBLE = "max"


@dataclass(frozen=True)
class MeshSettings:
    """What is watched or replayed.

    Attributes:
        broker: `mqtt://host:port` or `mqtts://host:port`; None if a recording is shown alone.
        site: Name of the site; `+` for all of them.
        seconds: How long to watch; None until Ctrl-C.
        json: Where the summary goes; None for nowhere.
        record: Where the traffic goes; None for nowhere.
        record_limit_mb: How large that file may become, in millions of bytes.
        all_topics: Whether logs, orders, observations and actions are watched too.
        replay: The recording to play; None to watch a broker.
        picture: Where the picture of the recording goes; None for nowhere.
        speed: How fast a recording is played, a number or `max`; None for the usual.
        as_site: Name under which a recording is played to a broker; None for its own.
        username: Who we are at the broker; None for nobody.
        password_file: Holds the password.
        ca_file: Certificates of authorities that the broker's certificate is checked with.
        certificate_file: Our own certificate.
        key_file: Its key.

    Raises:
        ConfigError: Some options are wrong or do not fit together; lists all of them.
    """

    broker: str | None = None
    site: str = ALL_SITES
    seconds: float | None = None
    json: Path | None = None
    record: Path | None = None
    record_limit_mb: float = 1000.0
    all_topics: bool = False
    replay: Path | None = None
    picture: Path | None = None
    speed: str | None = None
    as_site: str | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        problems = [problem for good, problem in self._checks() if not good]
        if self.broker is not None:
            problems += _url_problems(self.broker, self.ca_file is not None)
        if problems:
            raise ConfigError("networld mesh", problems)

    @property
    def speed_factor(self) -> float | None:
        """The speed as a number, infinite for `max`; None if none was given."""
        if self.speed is None:
            return None
        return math.inf if self.speed == AS_FAST_AS_POSSIBLE else float(self.speed)

    def broker_config(self) -> BrokerConfig:
        """Return the address and credentials in the words of a cell's configuration."""
        assert self.broker is not None  # noqa: S101
        parts = urlsplit(self.broker)
        return BrokerConfig(
            host=parts.hostname or "",
            port=parts.port or (PORT if self.ca_file is None else TLS_PORT),
            username=self.username,
            password_file=self.password_file,
            tls_ca_file=self.ca_file,
            tls_certificate_file=self.certificate_file,
            tls_key_file=self.key_file,
        )

    def _checks(self) -> list[tuple[bool, str]]:
        watches = self.replay is None
        tls_files = self.certificate_file, self.key_file
        return [
            (self.broker is not None or not watches, "name --broker, or --replay FILE"),
            (
                self.site == ALL_SITES or NAME_PATTERN.fullmatch(self.site) is not None,
                f"--site {self.site}: expected lower-case letters, digits and dashes, or +",
            ),
            (
                self.as_site is None or NAME_PATTERN.fullmatch(self.as_site) is not None,
                f"--as-site {self.as_site}: expected lower-case letters, digits and dashes",
            ),
            (
                self.seconds is None or (self.seconds > 0 and math.isfinite(self.seconds)),
                f"--seconds {self.seconds}: expected more than 0",
            ),
            (
                math.isfinite(self.record_limit_mb) and self.record_limit_mb >= 0.01,
                f"--record-limit-mb {self.record_limit_mb}: expected 0.01 or more",
            ),
            (_is_speed(self.speed), f"--speed {self.speed}: expected a number above 0, or max"),
            (watches or self.record is None, "--record: a replay is recorded already"),
            (watches or self.seconds is None, "--seconds: a replay ends by itself"),
            (watches or self.site == ALL_SITES, "--site: a recording has its own; see --as-site"),
            (not watches or self.picture is None, "--picture: of a recording; --replay FILE too"),
            (not watches or self.speed is None, "--speed: of a recording; --replay FILE too"),
            (
                self.as_site is None or (not watches and self.broker is not None),
                "--as-site: for --replay FILE with --broker",
            ),
            (
                (self.certificate_file is None) == (self.key_file is None),
                "--certificate-file and --key-file: give both or none",
            ),
            (
                self.ca_file is not None or not (self.broker or "").startswith("mqtts:"),
                f"--broker {self.broker}: needs --ca-file, the authority of its certificate",
            ),
            (
                self.ca_file is not None or tls_files == (None, None),
                "--certificate-file: needs --ca-file",
            ),
            (
                self.username is not None or self.password_file is None,
                "--password-file: needs --username",
            ),
        ]


def _is_speed(text: str | None) -> bool:
    if text is None or text == AS_FAST_AS_POSSIBLE:
        return True
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _url_problems(url: str, has_authority: bool) -> list[str]:
    expected = f"--broker {url}: expected mqtt://host:port or mqtts://host:port"
    try:
        parts = urlsplit(url)
        good = parts.port != 0
    except ValueError as error:
        return [f"{expected}; {error}"]
    if not good or parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        return [expected]
    if parts.username is not None or parts.password is not None:
        return ["--broker: user and password do not belong in a URL; --username, --password-file"]
    if parts.path.strip("/") or parts.query or parts.fragment:
        return [expected]
    if parts.scheme == "mqtts" and not has_authority:
        return ["--broker mqtts://: needs --ca-file, the authority of the broker's certificate"]
    return []
