//! Reduces PID 1's privileges to those of a unit (capabilities(7)).

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use octet_appliance::Capability;

use super::child::ChildState;
use super::failure::SpawnFailure;

/// The bit of a capability in the kernel's sets.
fn bit(capability: Capability) -> CapabilitySet {
    CapabilitySet::from_bits_retain(1 << capability as u32)
}

fn set(capabilities: &[Capability]) -> CapabilitySet {
    capabilities.iter().map(|capability| bit(*capability)).collect()
}

/// Removes capabilities that the unit does not have from the bounding set, so that no program it
/// executes can gain them.
pub fn bound(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    let own = set(&start.order.unit.sandbox.capabilities);
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if own.contains(one) {
            continue;
        }
        match remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // The kernel has no capabilities beyond.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(SpawnFailure::new("bound its capabilities", error)),
        }
    }
    Ok(())
}

/// Changes to the unit's user, with its group alone, but keeps the permitted capabilities of the
/// process.
pub fn become_user(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    let number = start.order.unit.user.user().uid;
    let (uid, gid) = (Uid::from_raw(number), Gid::from_raw(number));
    set_thread_groups(&[])
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_keep_capabilities(true))
        .and_then(|()| set_thread_res_uid(uid, uid, uid))
        .map_err(SpawnFailure::context(format_args!("become user {number}")))
}

/// Grants the program the unit's capabilities. For root the bounding set does that; another user
/// keeps only the ambient set at execve, for which a capability must be inheritable.
///
/// The process keeps its own permitted capabilities for the steps that follow.
pub fn grant(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    let own = &start.order.unit.sandbox.capabilities;
    let failed = || SpawnFailure::context("set its capabilities");
    let permitted = capabilities(None).map_err(failed())?.permitted;
    let sets = CapabilitySets { effective: permitted, permitted, inheritable: set(own) };
    set_capabilities(None, sets).map_err(failed())?;
    if start.order.unit.user.user().uid == 0 {
        return Ok(());
    }
    for capability in own {
        configure_capability_in_ambient_set(bit(*capability), true).map_err(
            SpawnFailure::context(format_args!("give it the capability {capability:?}")),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The enum of the unit file is in the kernel's order: tests both ends and some between.
    #[test]
    fn capabilities_have_the_kernels_numbers() {
        for (ours, theirs) in [
            (Capability::Chown, CapabilitySet::CHOWN),
            (Capability::Setpcap, CapabilitySet::SETPCAP),
            (Capability::NetBindService, CapabilitySet::NET_BIND_SERVICE),
            (Capability::NetAdmin, CapabilitySet::NET_ADMIN),
            (Capability::SysAdmin, CapabilitySet::SYS_ADMIN),
            (Capability::SysTime, CapabilitySet::SYS_TIME),
            (Capability::Syslog, CapabilitySet::SYSLOG),
            (Capability::CheckpointRestore, CapabilitySet::CHECKPOINT_RESTORE),
        ] {
            assert_eq!(bit(ours), theirs, "{ours:?}");
        }
        let two = [Capability::NetAdmin, Capability::NetRaw];
        assert_eq!(set(&two), CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW);
    }
}
