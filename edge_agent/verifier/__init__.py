"""The verifier: a short-lived process that judges what the device was shown, so that the supervisor stays small."""
