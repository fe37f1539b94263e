"""The edge: TLS, routes, headers, limits."""

import json
import ssl
import subprocess

import pytest


def test_paths_reach_their_pools_unchanged(fleet):
    for path, hosts in (("/collect/v1/events?x=1", {"euw-collect-1", "euw-collect-2"}), ("/pat/v1/decisions?site=s", {"euw-pat-1"})):
        seen = [json.loads(fleet.edge(path)[2]) for _ in range(8)]
        assert {one["host"] for one in seen} == hosts
        assert {one["path"] for one in seen} == {path}


def test_an_estate_without_origin_says_so(fleet):
    status, _, body = fleet.edge("/")
    assert (status, body) == (503, "this estate has no origin")


def test_a_client_cannot_choose_its_address(fleet):
    headers = {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6", "X-Forwarded-Proto": "gopher"}
    seen = json.loads(fleet.edge("/collect/v1/events", headers=headers)[2])
    assert seen["forwarded"] == ["10.92.160.1"]
    assert seen["headers"]["x-forwarded-proto"] == "https"
    assert "forwarded" not in seen["headers"]


def test_another_name_is_refused(fleet):
    assert fleet.edge("/collect/v1/events", headers={"Host": "other.example"})[0] == 421


# By HTTP/2 the refusal of a body that is still being sent ends the stream, which curl 7.88 reports instead of the answer.
@pytest.mark.parametrize(
    ("size", "version", "status"), [(2097152, "--http2", "200"), (2097152, "--http1.1", "200"), (2097153, "--http1.1", "413")]
)
def test_a_body_has_a_limit(fleet, tmp_path, size, status, version):
    (tmp_path / "body").write_bytes(b"x" * size)
    command = ["curl", "--silent", version, "--cacert", str(fleet.state / "ca.pem"), "--resolve", f"{fleet.edge_name}:443:{fleet.gateway}"]
    command += ["--data-binary", f"@{tmp_path}/body", "--write-out", " %{http_code}", f"https://{fleet.edge_name}/collect/v1/events"]
    answer, _, found = subprocess.run(command, capture_output=True, text=True).stdout.rpartition(" ")
    assert found == status
    if status == "413":
        assert json.loads(answer)["errors"][0]["problem"] == "more than 2097152 bytes"


def test_the_experiments_file_has_a_version(fleet):
    status, headers, body = fleet.edge("/pat/experiments.json")
    assert status == 200
    assert json.loads(body)["format"] == 1
    assert fleet.edge("/pat/experiments.json", headers={"If-None-Match": headers["etag"]})[0] == 304
    assert fleet.edge("/pat/experiments.json", headers={"If-None-Match": '"another"'})[0] == 200


def test_plain_http_is_sent_to_https(fleet):
    status, _ = fleet.get(80, "/collect/v1/events", address=fleet.gateway)
    assert status == 308


def test_only_todays_tls_and_http2(fleet):
    def curl(*options):
        command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_version}", "--cacert", str(fleet.state / "ca.pem")]
        command += ["--resolve", f"{fleet.edge_name}:443:{fleet.gateway}", *options, f"https://{fleet.edge_name}/pat/experiments.json"]
        return subprocess.run(command, capture_output=True, text=True)

    assert curl().stdout == "2"
    assert curl("--tlsv1.2", "--tls-max", "1.2", "--http1.1").stdout == "1.1"
    assert curl("--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0").returncode == 35


def test_a_client_that_trusts_another_authority_is_warned(fleet):
    with pytest.raises(ssl.SSLCertVerificationError):
        fleet.edge("/", context=ssl.create_default_context())


def test_a_draining_service_gets_no_new_requests_and_keeps_what_it_has(fleet):
    fleet.answers("euw-collect-1", readyz="503 draining")
    try:
        fleet.until(lambda: {json.loads(fleet.edge("/collect/x")[2])["host"] for _ in range(8)} == {"euw-collect-2"}, 10, "it is out")
    finally:
        fleet.answers("euw-collect-1", readyz="200 Ok.")
    fleet.until(lambda: len({json.loads(fleet.edge("/collect/x")[2])["host"] for _ in range(8)}) == 2, 10, "it is back")


def test_gateways_fail_over_too(fleet):
    holder = fleet.holder("euw-app-gateway")
    fleet.verb(holder, "drain")
    assert fleet.holder("euw-app-gateway") != holder
    assert fleet.edge("/pat/experiments.json")[0] == 200
    fleet.verb(holder, "undrain")
