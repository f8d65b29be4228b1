"""The outside world of the device, one file for each thing: broker, journal, slots, spool, trust, runtimes."""
