"""The runtime runs, and nothing of a desktop came with it."""

testinfra_hosts = ["all"]


def test_the_runtime_of_debian_13_runs(host):
    said = host.check_output("java -XshowSettings:properties -version 2>&1")
    assert "java.specification.version = 21" in said
    assert "java.base@21" in host.check_output("java --list-modules")


def test_it_verifies_tls_with_the_distribution_s_authorities(host):
    trusted = host.check_output("keytool -list -cacerts -storepass changeit 2>/dev/null | grep --count trustedCertEntry")
    assert int(trusted) > 50


def test_no_desktop_came_with_it(host):
    assert not any(host.package(name).is_installed for name in ("libgtk-3-0t64", "libgtk2.0-0t64", "x11-common", "xorg"))
