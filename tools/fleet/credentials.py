"""The local estate's secrets and certificate authority: generated once, kept in the fleet's state directory."""

from __future__ import annotations

import datetime
import ipaddress
import json
import secrets
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.webtrends.optimize.plugins.plugin_utils.fleet import CORE, Fleet
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tools.fleet.shell import FleetProblem
from tools.fleet.state import write

LENGTH = 32
ALPHABET = string.ascii_letters + string.digits  # needs no quoting in any product's configuration
CA_DAYS = 3650
CERTIFICATE_DAYS = 820  # clients of some platforms refuse more than 825
RENEW_DAYS = 30
EDGE_POOL = "app_gateway"
KEY = "ca-key.pem"


def edge_name(region: str) -> str:
    """The name under which visitors reach a region."""
    return f"{region}.edge.optimize.test"


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: str, days: int, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def authority(state: Path, fleet_name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The fleet's own authority: <state>/ca.pem, and its key beside it (0600). Made once; its life is longer than a fleet's."""
    certificate_file, key_file = state / "ca.pem", state / KEY
    if certificate_file.exists() and key_file.exists():
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise FleetProblem(f"{key_file}: not a key of this program; remove it together with {certificate_file}, and run up again")
        return x509.load_pem_x509_certificate(certificate_file.read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"Webtrends Optimize {fleet_name} test authority"
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, CA_DAYS, key)
        .issuer_name(_name(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write(key_file, _pem(key), 0o600)
    write(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def edge_certificate(name: str, address: str | None, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey) -> str:
    """PEM text: a private key, its certificate for `name` (and `address`), and the authority's."""
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if address is not None:
        names.append(x509.IPAddress(ipaddress.ip_address(address)))
    certificate = (
        _builder(name, CERTIFICATE_DAYS, key)
        .issuer_name(ca.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return (_pem(key) + certificate.public_bytes(pem) + ca.public_bytes(pem)).decode()


def _current(pem: Any, ca: x509.Certificate) -> bool:
    """Whether an edge certificate can stay: signed by this authority, and not about to expire."""
    if not isinstance(pem, str):
        return False
    certificate = x509.load_pem_x509_certificates(pem.encode())[0]
    limit = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=RENEW_DAYS)
    return (
        certificate.issuer == ca.subject
        and certificate.not_valid_after_utc > limit
        and str(ca.public_bytes(serialization.Encoding.PEM).decode()) in pem
    )


def _password(entry: dict[str, Any]) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(min(LENGTH, entry.get("maximum_length", LENGTH))))


def generate(
    entries: list[dict[str, Any]], have: dict[str, Any], fleet: Fleet, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey
) -> dict[str, Any]:
    """A value for every entry of inventories/secrets.yml; what `have` has and still fits is kept."""
    edges = {host.region: host.virtual_address for host in fleet.hosts if host.pool == EDGE_POOL}

    def passwords(entry: dict[str, Any], old: Any) -> dict[str, str]:
        known = old if isinstance(old, dict) else {}
        return {key: known.get(key) or _password(entry) for key in entry["keys"]}

    def certificates(_entry: dict[str, Any], old: Any) -> dict[str, str]:
        known = old if isinstance(old, dict) else {}
        return known | {
            region: edge_certificate(edge_name(region), address, ca, ca_key)
            for region, address in edges.items()
            if not _current(known.get(region), ca)
        }

    kinds: dict[str, Callable[[dict[str, Any], Any], Any]] = {
        "password": lambda entry, old: old or _password(entry),
        "passwords": passwords,
        "certificate": lambda _entry, _old: ca.public_bytes(serialization.Encoding.PEM).decode(),
        "certificates": certificates,
    }
    values = {}
    for entry in entries:
        if entry["kind"] not in kinds:
            raise FleetProblem(f"inventories/secrets.yml: {entry['name']} is of kind {entry['kind']!r}; known are {', '.join(kinds)}")
        values[entry["name"]] = kinds[entry["kind"]](entry, have.get(entry["name"]))
    return values


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines, which certificates are, as they stand."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def ensure(fleet: Fleet) -> None:
    """Make what is missing of <state>/secrets.yml, ca.pem and edge.json; keep what is there."""
    entries = yaml.safe_load((fleet.root / "inventories" / "secrets.yml").read_text(encoding="utf-8"))["secrets"]
    path = fleet.secrets
    have = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}
    ca, ca_key = authority(fleet.state, fleet.name)
    values = generate(entries, have, fleet, ca, ca_key)
    if values != have:
        write(path, "# Generated for this fleet alone by tools.fleet.\n" + yaml.dump(values, Dumper=_Dumper, sort_keys=True), 0o600)
    edges = {
        host.region: {
            "name": edge_name(host.region),
            "address": host.virtual_address or host.address,
            "port": 443,
            "ca": str(fleet.state / "ca.pem"),
        }
        for host in reversed(fleet.hosts)
        if host.pool == EDGE_POOL and host.region != CORE
    }
    write(fleet.state / "edge.json", json.dumps(edges, indent=2, sort_keys=True) + "\n")
