"""What boto3 says of who it is, through whatever credentials its environment leads it to, until that changes once."""
import sys
import time

import boto3

endpoint, profile = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
client = boto3.Session(profile_name=profile).client("sts", endpoint_url=endpoint)
seen = []
for _ in range(400):
    arn = client.get_caller_identity()["Arn"]
    if arn not in seen:
        seen.append(arn)
        print(arn, flush=True)
    if len(seen) == 2:
        sys.exit(0)
    time.sleep(0.05)
sys.exit(4)
