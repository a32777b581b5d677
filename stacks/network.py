"""Network: the subnets and the security group, if the configuration names a VPC.

Runs at synth, without lookups: the ids are used as given. The VPC belongs to the user; this stack creates at most a security group in it,
never a route, subnet or endpoint.
"""

from typing import Any

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.configuration import Config
from stacks.permissions import acknowledge, allow, resource_arn

DESCRIBED = ["NetworkInterfaces", "Vpcs", "DhcpOptions", "Subnets", "SecurityGroups"]

OWN_MACHINES = "Only machines of the same group are allowed in: those of one job choose their ports, and SageMaker encrypts the traffic."


class Network(Construct):
    """`subnets` and `security_group_id` are empty if jobs run in SageMaker's own network."""

    def __init__(self, scope: Construct, id: str, *, config: Config) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the security group unless the configuration names one."""
        super().__init__(scope, id)
        self.config = config
        self.subnets = config.subnets
        self.security_group_id = config.security_group_id or (self.add_security_group() if config.vpc_id else "")

    def add_security_group(self) -> str:
        """In: traffic between the machines of a job. Out: the same, and HTTPS to S3 and the other services."""
        group = ec2.CfnSecurityGroup(
            self,
            "SecurityGroup",
            group_description=f"Jobs and endpoints of {self.config.project}",
            vpc_id=self.config.vpc_id,
            security_group_egress=[
                ec2.CfnSecurityGroup.EgressProperty(
                    ip_protocol="tcp", from_port=443, to_port=443, cidr_ip="0.0.0.0/0", description="HTTPS to AWS services"
                )
            ],
        )
        own: dict[str, Any] = {"group_id": group.attr_group_id, "ip_protocol": "-1", "description": "Between the machines of one job"}
        ingress = ec2.CfnSecurityGroupIngress(self, "FromOwnMachines", source_security_group_id=group.attr_group_id, **own)
        acknowledge(ingress, "NIST.800.53.R5-EC2RestrictedCommonPorts", OWN_MACHINES)
        ec2.CfnSecurityGroupEgress(self, "ToOwnMachines", destination_security_group_id=group.attr_group_id, **own)
        return group.attr_group_id

    def allow_interfaces(self, role: iam.Role) -> None:
        """SageMaker attaches the machines to the subnets with the job's role."""
        if not self.subnets:
            return
        why = "Each machine in the VPC has a network interface."
        new = "An interface has no id before it is created."
        interfaces = resource_arn(role, "ec2", "network-interface/*")
        subnets = [resource_arn(role, "ec2", f"subnet/{subnet}") for subnet in self.subnets]
        group = resource_arn(role, "ec2", f"security-group/{self.security_group_id}")
        allow(role, ["ec2:CreateNetworkInterface"], interfaces, *subnets, group, why=why, why_wildcard=new)
        changes = [
            f"ec2:{verb}NetworkInterface{what}" for verb, what in (("Create", "Permission"), ("Delete", ""), ("Delete", "Permission"))
        ]
        allow(role, changes, interfaces, why=why, why_wildcard=new)
        looks = [f"ec2:Describe{each}" for each in DESCRIBED]
        unnamed = "EC2's Describe actions have no resource-level permissions."
        allow(role, looks, "*", why="SageMaker describes the network first.", why_wildcard=unnamed)
