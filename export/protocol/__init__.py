"""What is sent and answered: names, signatures, requests, errors."""
