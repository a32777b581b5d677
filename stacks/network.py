"""Network: the subnets and the security group of a deployment whose configuration names a VPC.

Runs at synth, where nothing is looked up: the ids are taken as they are. The VPC is the user's own; of it this stack makes a security
group at most, and no route, subnet or endpoint.
"""

from typing import Any

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.configuration import Config
from stacks.permissions import acknowledge, allow, resource_arn

DESCRIBED = ["NetworkInterfaces", "Vpcs", "DhcpOptions", "Subnets", "SecurityGroups"]

OWN_MACHINES = "Only machines of this very group are let in: those of one job talk on ports that they choose, encrypted by SageMaker."


class Network(Construct):
    """`subnets` is empty and `security_group_id` too where jobs run in SageMaker's own network."""

    def __init__(self, scope: Construct, id: str, *, config: Config) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the security group unless there is one."""
        super().__init__(scope, id)
        self.config = config
        self.subnets = config.subnets
        self.security_group_id = config.security_group_id or (self.add_security_group() if config.vpc_id else "")

    def add_security_group(self) -> str:
        """In: the machines of one job among themselves. Out: the same, and HTTPS, by which S3 and the other services are reached."""
        group = ec2.CfnSecurityGroup(
            self,
            "SecurityGroup",
            group_description=f"Jobs and endpoints of {self.config.project}",
            vpc_id=self.config.vpc_id,
            security_group_egress=[
                ec2.CfnSecurityGroup.EgressProperty(
                    ip_protocol="tcp", from_port=443, to_port=443, cidr_ip="0.0.0.0/0", description="AWS services, through endpoints or not"
                )
            ],
        )
        own: dict[str, Any] = {"group_id": group.attr_group_id, "ip_protocol": "-1", "description": "Machines of one job among themselves"}
        ingress = ec2.CfnSecurityGroupIngress(self, "FromOwnMachines", source_security_group_id=group.attr_group_id, **own)
        acknowledge(ingress, "NIST.800.53.R5-EC2RestrictedCommonPorts", OWN_MACHINES)
        ec2.CfnSecurityGroupEgress(self, "ToOwnMachines", destination_security_group_id=group.attr_group_id, **own)
        return group.attr_group_id

    def allow_interfaces(self, role: iam.Role) -> None:
        """SageMaker puts the machines into the subnets in the role's name."""
        if not self.subnets:
            return
        why = "A machine in the VPC has a network interface there."
        new = "An interface has no name before it is made."
        interfaces = resource_arn(role, "ec2", "network-interface/*")
        subnets = [resource_arn(role, "ec2", f"subnet/{subnet}") for subnet in self.subnets]
        group = resource_arn(role, "ec2", f"security-group/{self.security_group_id}")
        allow(role, ["ec2:CreateNetworkInterface"], interfaces, *subnets, group, why=why, why_wildcard=new)
        changes = [
            f"ec2:{verb}NetworkInterface{what}" for verb, what in (("Create", "Permission"), ("Delete", ""), ("Delete", "Permission"))
        ]
        allow(role, changes, interfaces, why=why, why_wildcard=new)
        looks = [f"ec2:Describe{each}" for each in DESCRIBED]
        allow(role, looks, "*", why="It looks at the subnets first.", why_wildcard="EC2 describes without naming a resource.")
