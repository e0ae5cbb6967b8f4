"""For all tests: a property holds however long its examples take, since other work may share the machine."""

from hypothesis import HealthCheck, settings

# On top of the present profile, which is Hypothesis' own for CI where CI is set.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
