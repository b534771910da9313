//! What others are told of a group.

use protocol::messages::describe_groups::{DescribedGroup, DescribedGroupMember};
use protocol::messages::list_groups::ListedGroup;

use super::{Group, State};

impl Group {
    /// For DescribeGroups. Subscriptions and assignments are told of a stable generation only.
    #[must_use]
    pub fn describe(&self) -> DescribedGroup {
        let assignor = self.protocol_name.as_deref().filter(|_| self.state == State::Stable);
        let members = self.members.values().map(|member| DescribedGroupMember {
            member_id: (&member.id).into(),
            group_instance_id: member.instance_id.as_ref().map(Into::into),
            client_id: (&member.client_id).into(),
            client_host: (&member.client_host).into(),
            member_metadata: assignor.and_then(|assignor| member.metadata(assignor)).cloned().unwrap_or_default(),
            member_assignment: assignor.map(|_| member.assignment.clone()).unwrap_or_default(),
        });
        DescribedGroup {
            group_id: (&self.id).into(),
            group_state: self.state.name().into(),
            protocol_type: self.protocol_type.as_deref().unwrap_or_default().into(),
            protocol_data: assignor.unwrap_or_default().into(),
            members: members.collect(),
            ..Default::default()
        }
    }

    /// For ListGroups.
    #[must_use]
    pub fn overview(&self) -> ListedGroup {
        ListedGroup {
            group_id: (&self.id).into(),
            protocol_type: self.protocol_type.as_deref().unwrap_or_default().into(),
            group_state: self.state.name().into(),
            group_type: "classic".into(),
        }
    }
}
