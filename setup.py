"""What pip installs. It reads the version and changes nothing."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    """As tessflux/__init__.py gives it; an import would need what is not installed yet."""
    text = (HERE / "tessflux" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise SystemExit("tessflux/__init__.py has no __version__")
    return match[1]


setup(
    name="tessflux",
    version=version(),
    description="A daemon that stores the readings of TESS sky photometers in InfluxDB",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="tessflux developers",
    license="MIT",
    classifiers=[
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 15)),
        "Topic :: Scientific/Engineering :: Astronomy",
    ],
    packages=find_packages(include=["tessflux", "tessflux.*"]),
    # The files are what `tessflux --install` puts in place, and what the pages need.
    package_data={
        "tessflux": ["py.typed", "files/*/*", "files/*/*/*"],
        "tessflux.pages": ["*.css", "*.js", "*.svg"],
    },
    entry_points={"console_scripts": ["tessflux = tessflux.__main__:main"]},
    python_requires=">=3.11",
    install_requires=[
        "Twisted[tls] >= 24.10",
        # mqtt/pahoclient.py overrides a private method of this major version.
        "paho-mqtt >= 2.1, < 3",
        "influxdb >= 5.3.2, < 6",
        # Reads a payload in a quarter of the time that `json` takes. Its errors are ValueErrors since 0.21.
        "msgspec >= 0.21",
        # The identity of a reading in a third of the time of hashlib's.
        "xxhash >= 3.2",
        "python-daemon >= 3.1, < 4",
        # MQTT through a WebSocket: small, and without I/O.
        "wsproto >= 1.2",
        # The daemon gives the influxdb package answers in its words; `tessflux data` asks by it.
        "requests >= 2.30",
        # Before that it took a body that breaks off for a whole one, and a certificate by its common name.
        "urllib3 >= 2.0.2",
        "zope.interface >= 6",
        # Names of hosts with letters outside ASCII. Twisted has it too.
        "idna >= 3.3",
        # The format of /metrics; Debian 12 has 0.16.
        "prometheus-client >= 0.16",
    ],
    extras_require={
        "test": [
            # Says where the Sun and the Moon stand, which sky.py must say too.
            "ephem >= 4.1",
            "hypothesis >= 6.100",
            "mypy >= 1.11",
            "mypy-zope >= 1.0.8",
            "pytest >= 8",
            "pytest-timeout >= 2.3.1",
            "pytest-xdist >= 3.5",
            "ruff >= 0.9",
            # Reads the files of the TESS network, and ours.
            "tess-ida-tools >= 1.2",
            # They look at the pages: whether everybody can read them, and a browser.
            "axe-core-python >= 0.1",
            "selenium >= 4.20",
            "types-requests",
        ],
    },
)
