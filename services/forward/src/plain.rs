//! Plain links: MPLS in IP between the boards' own addresses, without WireGuard. They exist within a box only,
//! where rules of `appliance.toml` allow `mpls-in-ip` between two boards in both directions.

use std::collections::BTreeSet;

use octet_appliance::{
    Board, Cluster, ClusterSettings, FileError, MPLS_IN_IP, Policy, PolicyTraffic, Segments,
    TrafficKind, Zone,
};

/// The pairs of boards, from and to, with such a rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plain(BTreeSet<(u8, u8)>);

impl Plain {
    /// Evaluates the rules.
    pub fn evaluate(
        cluster: Cluster,
        boards: Vec<Board>,
        mut policies: Vec<Policy>,
    ) -> Result<Self, Box<FileError>> {
        // Other rules may name units that this service does not know.
        policies.retain(|policy| policy.what == PolicyTraffic::Number(MPLS_IN_IP));
        let (publish, neighbours) = (vec![], vec![]);
        let settings = ClusterSettings {
            cluster,
            boards,
            lan: None,
            policies,
            publish,
            neighbours,
            vpn: None,
        };
        let (segments, _) = Segments::evaluate(&settings, &[], ("appliance.toml", ""))?;
        let lines = segments.allowed.entries().filter_map(|(flow, _)| match flow {
            (Zone::Board(from), Zone::Board(to), TrafficKind::Number(MPLS_IN_IP)) => {
                Some((from, to))
            }
            _ => None,
        });
        Ok(Self(lines.collect()))
    }

    /// Whether the link between these two boards is plain.
    pub fn is_plain(&self, one: u8, other: u8) -> bool {
        self.0.contains(&(one, other)) && self.0.contains(&(other, one))
    }

    /// As if the file had these rules.
    #[cfg(test)]
    pub fn with_links(lines: &[(u8, u8)]) -> Self {
        Self(lines.iter().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::Appliance;
    use proptest::prelude::*;

    const BEGINS: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[cluster]\nboards = 8\n\
        [[board]]\nnumber = 5\nrole = \"cache\"\n[[board]]\nnumber = 6\nrole = \"cache\"\n";

    fn of(policies: &str) -> Result<Plain, Box<FileError>> {
        let appliance = Appliance::parse("appliance.toml", &format!("{BEGINS}{policies}")).unwrap();
        let settings = appliance.cluster_settings().unwrap();
        Plain::evaluate(settings.cluster, settings.boards, settings.policies)
    }

    fn line(from: &str, to: &str, what: &str) -> String {
        format!("[[policy]]\nfrom = {from}\nto = {to}\n{what}\n")
    }

    const LINK: &str = "protocol = \"mpls-in-ip\"";

    #[test]
    fn both_directions_or_none() {
        let both =
            [line("\"board-1\"", "\"board-2\"", LINK), line("\"board-2\"", "\"board-1\"", LINK)];
        let plain = of(&both.concat()).unwrap();
        assert!(plain.is_plain(1, 2) && plain.is_plain(2, 1) && !plain.is_plain(1, 3));
        for one in both {
            let plain = of(&one).unwrap();
            assert!(!plain.is_plain(1, 2) && !plain.is_plain(2, 1), "{one}");
        }
        assert_eq!(of("").unwrap(), Plain::default());
        // Rules for other traffic do not count.
        let other = line("\"boards\"", "\"boards\"", "protocol = 47");
        assert_eq!(of(&other).unwrap(), Plain::default());
        let ports = line("\"boards\"", "\"boards\"", "protocol = \"udp\"\nports = [137]");
        assert_eq!(of(&ports).unwrap(), Plain::default());
        // A rule for a unit that this service does not know is ignored.
        let service = line("\"lan\"", "\"board-1\"", "service = \"nobodys\"");
        assert_eq!(of(&service).unwrap(), Plain::default());
        assert!(of(&line("\"board-9\"", "\"board-1\"", LINK)).is_err(), "there is none");
    }

    #[test]
    fn all_boards_and_roles() {
        let all = of(&line("\"boards\"", "\"boards\"", LINK)).unwrap();
        let role = of(&line("\"role:cache\"", "\"role:cache\"", LINK)).unwrap();
        for (one, other) in (1..=6).flat_map(|one| (1..=6).map(move |other| (one, other))) {
            assert_eq!(all.is_plain(one, other), one != other);
            assert_eq!(role.is_plain(one, other), one != other && one.min(other) == 5);
        }
    }

    proptest! {
        #[test]
        fn it_is_the_same_from_both_sides(
            lines in prop::collection::vec((1u8..=6, 1u8..=6), 0..9), one in 1u8..=6, other in 1u8..=6,
        ) {
            let lines: Vec<_> = lines.into_iter().filter(|(from, to)| from != to).collect();
            let who = |number| format!("\"board-{number}\"");
            let text: String =
                lines.iter().map(|(from, to)| line(&who(*from), &who(*to), LINK)).collect();
            let plain = of(&text).unwrap();
            let is_said = lines.contains(&(one, other)) && lines.contains(&(other, one));
            prop_assert_eq!((plain.is_plain(one, other), plain.is_plain(other, one)), (is_said, is_said));
            prop_assert_eq!(plain, Plain::with_links(&lines));
        }
    }
}
