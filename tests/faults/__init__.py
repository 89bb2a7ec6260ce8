"""What must not happen: a table of faults, each with what is done, what is right, and a test that does it.

Faults are registered in modules ``faults_<area>.py`` by the decorator of table.py; test_faults.py runs them all, and a
summary by kind ends the output. ``make test-faults`` runs the thorough and slow ones too.
"""
