//! Filters of system calls (seccomp(2), SECCOMP_SET_MODE_FILTER): made here from the groups that
//! units name, so that PID 1 has only to load them.
//!
//! A filter allows what its groups hold. Of calls that are younger than the groups, and of `clone3`,
//! it says that there is no such call: libraries then use what there was before. It refuses the
//! rest with EPERM, and kills who calls as another architecture does.
//!
//! It is a search by halves. When a filter is loaded the kernel runs it once for every number of a
//! call (kernel/seccomp.c, `seccomp_cache_prepare`): a chain of comparisons took the boot longer
//! than all else that is done for a unit.

mod bpf;

use std::collections::BTreeMap;

use octet_appliance::{CallGroup, FILTERS, Unit};
use octet_machine::Architecture;
use seccompiler::{BpfProgram, TargetArch, compile_from_json, sock_filter};
use serde_json::{Map, Value, json};

use super::{Because, Clash, NodeOrigin, Tree, TreeNode};
use crate::target::Target;

/// Numbers of calls from `setxattrat` on, as all architectures have them: younger than any that a
/// group names. `clone3` is older, but no filter can see its flags.
const UNIFIED_CALLS: std::ops::Range<u32> = 463..512;
const CLONE3: u32 = 435;

/// Flags of clone(2) that make namespaces (linux/sched.h): CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC,
/// NEWUSER, NEWPID, NEWNET.
const NEW_NAMESPACES: u32 = 0x7e02_0000;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// A filter cannot be put into the image.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum FilterError {
    #[error("cannot compile the filter {name} of system calls: {why}")]
    #[diagnostic(help(
        "a call in init/appliance/src/unit/system_calls.rs is not one of the target's"
    ))]
    Compile { name: String, why: seccompiler::Error },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Clash(#[from] Clash),
}

/// The files with the filters of a unit that may use `groups`, in the order in which they are
/// loaded.
pub fn names(groups: &[CallGroup]) -> Vec<String> {
    if groups.contains(&CallGroup::All) {
        return vec![];
    }
    let mut sorted = groups.to_vec();
    sorted.sort();
    let names: Vec<&str> = sorted.into_iter().map(CallGroup::name).collect();
    vec![names.join("+")]
}

/// Puts the filters of `units` into the tree.
pub fn put<'a>(
    tree: &mut Tree,
    units: impl IntoIterator<Item = &'a Unit>,
    target: Target,
) -> Result<(), FilterError> {
    let folder = Because::always("PID 1 looks here for filters of system calls");
    tree.put(FILTERS, TreeNode::folder(0o755, NodeOrigin::Generated, folder))?;
    for unit in units {
        for name in &unit.filters {
            let path = format!("{FILTERS}/{name}");
            if tree.get(&path).is_some() {
                continue;
            }
            let filter = filter(&unit.sandbox.system_calls, target)
                .map_err(|why| FilterError::Compile { name: name.clone(), why })?;
            let because = Because::always(format!("unit `{}` runs with it", unit.name));
            tree.put(&path, TreeNode::file(bytes(&filter), 0o644, NodeOrigin::Generated, because))?;
        }
    }
    Ok(())
}

/// What is done about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallAction {
    Allow,
    /// Allow, if it makes no namespaces.
    Clone,
    Refuse(u32),
}

/// The filter of a unit that may use `groups`.
fn filter(groups: &[CallGroup], target: Target) -> seccompiler::Result<BpfProgram> {
    let mut calls: Vec<&str> = groups.iter().flat_map(|group| group.calls()).collect();
    if target.triple().starts_with("x86_64") {
        calls.extend(groups.iter().flat_map(|group| group.calls_of_x86_64()));
    }
    let clone = match groups.contains(&CallGroup::Namespaces) {
        true => CallAction::Allow,
        false => CallAction::Clone,
    };
    let verdict = |call: &str| if call == "clone" { clone } else { CallAction::Allow };
    let mut verdicts: BTreeMap<u32, CallAction> = numbers(&calls, target)?
        .into_iter()
        .map(|(call, number)| (number, verdict(&call)))
        .collect();
    verdicts
        .extend(UNIFIED_CALLS.chain([CLONE3]).map(|number| (number, CallAction::Refuse(ENOSYS))));

    let otherwise = CallAction::Refuse(EPERM);
    let mut from = BTreeMap::from([(0, otherwise)]);
    for (number, verdict) in verdicts {
        // In their order, so that this is replaced by what the next number has.
        from.extend([(number, verdict), (number + 1, otherwise)]);
    }
    let mut ranges: Vec<(u32, CallAction)> = from.into_iter().collect();
    ranges.dedup_by_key(|(_, verdict)| *verdict);

    let mut filter = vec![
        bpf::load(bpf::ARCHITECTURE),
        bpf::skip(bpf::IF_EQUAL, bpf::audit_number(target), 1),
        bpf::end(bpf::KILL),
        bpf::load(bpf::NUMBER),
    ];
    filter.extend(search(&ranges));
    Ok(filter)
}

/// Finds the range that a number is in, each given by its first, and does what is done there.
fn search(ranges: &[(u32, CallAction)]) -> BpfProgram {
    let (below, above) = ranges.split_at(ranges.len() / 2);
    match (below, above) {
        ([], [(_, CallAction::Allow), ..]) => vec![bpf::end(bpf::ALLOW)],
        ([], [(_, CallAction::Refuse(error)), ..]) => vec![bpf::end(bpf::ERROR | error)],
        ([], [(_, CallAction::Clone), ..]) => vec![
            bpf::load(bpf::FIRST_ARGUMENT),
            bpf::skip(bpf::IF_ANY_BIT, NEW_NAMESPACES, 1),
            bpf::end(bpf::ALLOW),
            bpf::end(bpf::ERROR | EPERM),
        ],
        (_, [(first, _), ..]) => {
            let below = search(below);
            let mut both = bpf::skip_all(bpf::IF_NOT_BELOW, *first, below.len());
            both.extend(below);
            both.extend(search(above));
            both
        }
        (_, []) => vec![],
    }
}

/// The numbers of `calls`. The library's table can be asked only by having it compile: what it makes
/// of one call compares the architecture first, then the number.
fn numbers(calls: &[&str], target: Target) -> seccompiler::Result<Vec<(String, u32)>> {
    let alone = |call: &str| {
        json!({
            "match_action": "allow", "mismatch_action": "trap", "filter": [{ "syscall": call }]
        })
    };
    let each: Map<String, Value> =
        calls.iter().map(|call| ((*call).to_owned(), alone(call))).collect();
    let compiled =
        compile_from_json(Value::from(each).to_string().as_bytes(), architecture(target))?;
    let number = |program: BpfProgram| {
        program.iter().filter(|it| it.code == bpf::IF_EQUAL).nth(1).map(|it| it.k)
    };
    let numbers = compiled.into_iter().filter_map(|(call, it)| Some((call, number(it)?)));
    Ok(numbers.collect())
}

fn architecture(target: Target) -> TargetArch {
    match target.architecture() {
        Architecture::X86_64 => TargetArch::x86_64,
        Architecture::Aarch64 => TargetArch::aarch64,
    }
}

/// As the kernel has it on both (linux/filter.h, `struct sock_filter`), little-endian.
fn bytes(program: &[sock_filter]) -> Vec<u8> {
    let instruction = |filter: &sock_filter| {
        let [code, rest] = [filter.code.to_le_bytes(), [filter.jt, filter.jf]];
        let k = filter.k.to_le_bytes();
        [code[0], code[1], rest[0], rest[1], k[0], k[1], k[2], k[3]]
    };
    program.iter().flat_map(instruction).collect()
}

#[cfg(test)]
mod tests;
