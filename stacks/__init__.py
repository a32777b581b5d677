"""The infrastructure: one CloudFormation stack in CDK constructs. Runs wherever `cdk synth` runs; no account or network needed."""
