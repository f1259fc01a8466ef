//! Which endpoints a caller prefers by place: the setting that holds, and what it makes of groups of endpoints.
//!
//! Decisions only: nothing here builds a message. Follows Istio's `loadbalancer` package: shares by locality (`distribute`) replace weights and
//! leave out what is not listed; otherwise priorities by distance or by labels, which need something that finds failing endpoints.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::mesh_config::MeshConfig;
use crate::object::{LoadBalancerSettings, LocalityDistribute, LocalityFailover, LocalityLbSetting};
use crate::registry::{Endpoint, RegistryService, TrafficDistribution};

const NETWORK: &str = "topology.istio.io/network";
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUBZONE: &str = "topology.istio.io/subzone";
const CLUSTER: &str = "topology.istio.io/cluster";
const HOSTNAME: &str = "kubernetes.io/hostname";
/// More than there are priorities by distance: a priority by labels stays above any of them.
const DISTANCES: u32 = 5;

/// Region, zone and subzone, any of them empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    region: &'a str,
    zone: &'a str,
    subzone: &'a str,
}

impl<'a> Place<'a> {
    /// Reads `region/zone/subzone`.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let mut parts = text.splitn(3, '/');
        let mut part = || parts.next().unwrap_or_default();
        Self { region: part(), zone: part(), subzone: part() }
    }

    /// Whether a pattern covers it: `*` and what is missing stand for anything.
    fn matches(self, pattern: &str) -> bool {
        let Place { region, zone, subzone } = Place::parse(pattern);
        let any = |want: &str, have: &str| want.is_empty() || want == "*" || want == have;
        (region == "*" || region == self.region) && any(zone, self.zone) && any(subzone, self.subzone)
    }

    /// How far away: 0 in the same subzone, 1 in the same zone, 2 in the same region, 3 elsewhere.
    fn distance(self, other: Self) -> u32 {
        match () {
            () if self.region != other.region => 3,
            () if self.zone != other.zone => 2,
            () if self.subzone != other.subzone => 1,
            () => 0,
        }
    }
}

/// Who calls, as far as places are concerned.
#[derive(Clone, Debug)]
pub struct Caller<'a> {
    place: Place<'a>,
    labels: Labels<'a>,
}

impl<'a> Caller<'a> {
    /// A workload at a place (`region/zone/subzone`), with its labels, in a cluster.
    #[must_use]
    pub fn new(locality: &'a str, labels: &'a BTreeMap<String, String>, cluster_id: &'a str) -> Self {
        Self { place: Place::parse(locality), labels: Labels { labels, locality, cluster_id, node: "" } }
    }
}

/// Labels of a workload and, where it has none of that name, those that Istio adds from what it knows of it.
#[derive(Clone, Copy, Debug)]
struct Labels<'a> {
    labels: &'a BTreeMap<String, String>,
    locality: &'a str,
    cluster_id: &'a str,
    node: &'a str,
}

impl<'a> Labels<'a> {
    fn get(&self, key: &str) -> &'a str {
        let place = Place::parse(self.locality);
        let added = match key {
            REGION => place.region,
            ZONE => place.zone,
            SUBZONE => place.subzone,
            CLUSTER => self.cluster_id,
            HOSTNAME => self.node,
            _ => "",
        };
        if added.is_empty() { self.labels.get(key).map_or("", String::as_str) } else { added }
    }
}

/// What decides which endpoints are preferred.
#[derive(Clone, Debug, PartialEq)]
pub enum LocalityPreference<'a> {
    /// Nothing: all endpoints are equally near.
    None,
    /// Shares by locality.
    Distribute(&'a [LocalityDistribute]),
    /// Priorities: by labels in that order, or by distance, or both.
    Failover {
        /// Labels, or `label=value`.
        labels: Cow<'a, [String]>,
        /// Regions that stand in for others.
        regions: &'a [LocalityFailover],
    },
}

/// The preference for a service under its policy: the rule's, else the service's, else the mesh's. Priorities need outlier detection, except
/// those that the service asks for itself.
#[must_use]
pub fn locality_preference<'a>(
    mesh: &'a MeshConfig,
    load_balancer: Option<&'a LoadBalancerSettings>,
    service: &RegistryService,
    outlier_detection: bool,
) -> LocalityPreference<'a> {
    let (of_rule, zone_aware) =
        load_balancer.map_or((None, false), |lb| (lb.locality_lb_setting.as_ref(), lb.zone_aware_lb_setting.is_some()));
    let setting = match (of_rule, &service.traffic_distribution) {
        // The two exclude each other.
        (None, _) if zone_aware => return LocalityPreference::None,
        (Some(setting), _) => setting,
        (None, TrafficDistribution::Any) => &mesh.locality_lb_setting,
        (None, near) => {
            let labels: &[&str] = match near {
                TrafficDistribution::PreferSameNode => &[NETWORK, REGION, ZONE, SUBZONE, HOSTNAME],
                _ => &[NETWORK, REGION, ZONE],
            };
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            return LocalityPreference::Failover { labels: Cow::Owned(labels), regions: &[] };
        }
    };
    of_setting(setting, outlier_detection)
}

fn of_setting(setting: &LocalityLbSetting, outlier_detection: bool) -> LocalityPreference<'_> {
    if setting.enabled == Some(false) {
        LocalityPreference::None
    } else if !setting.distribute.is_empty() {
        LocalityPreference::Distribute(&setting.distribute)
    } else if outlier_detection {
        LocalityPreference::Failover { labels: Cow::Borrowed(&setting.failover_priority), regions: &setting.failover }
    } else {
        LocalityPreference::None
    }
}

/// Endpoints of one locality and one priority.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalityGroup<'a> {
    /// `region/zone/subzone`.
    pub locality: &'a str,
    /// 0 is used first.
    pub priority: u32,
    /// Share among the groups.
    pub weight: u32,
    /// Who is in it; may be nobody.
    pub endpoints: Vec<&'a Endpoint>,
}

impl<'a> LocalityGroup<'a> {
    fn new(locality: &'a str, priority: u32, endpoints: Vec<&'a Endpoint>) -> Self {
        let weight = endpoints.iter().fold(0u32, |sum, endpoint| sum.saturating_add(endpoint.weight));
        Self { locality, priority, weight, endpoints }
    }
}

impl LocalityPreference<'_> {
    /// Whether shares among localities hold, rather than those among endpoints.
    #[must_use]
    pub fn weighs_localities(&self) -> bool {
        match self {
            Self::None => false,
            Self::Distribute(_) => true,
            Self::Failover { labels, regions } => !labels.is_empty() || !regions.is_empty(),
        }
    }

    /// Groups endpoints by locality, in the order of its name, and orders the groups as `caller` prefers them.
    #[must_use]
    pub fn groups<'a>(
        &self,
        endpoints: impl IntoIterator<Item = &'a Endpoint>,
        caller: &Caller<'_>,
    ) -> Vec<LocalityGroup<'a>> {
        let mut localities: BTreeMap<&str, Vec<&Endpoint>> = BTreeMap::new();
        for endpoint in endpoints {
            localities.entry(&endpoint.locality).or_default().push(endpoint);
        }
        let mut groups: Vec<_> =
            localities.into_iter().map(|(locality, members)| LocalityGroup::new(locality, 0, members)).collect();
        match self {
            Self::None => {}
            Self::Distribute(rules) => distribute(&mut groups, rules, caller.place),
            Self::Failover { labels, regions } => {
                if !labels.is_empty() {
                    groups = groups.into_iter().flat_map(|group| by_labels(&group, labels, caller)).collect();
                    compact(&mut groups);
                }
                if labels.is_empty() || !regions.is_empty() {
                    by_distance(&mut groups, regions, caller.place);
                    compact(&mut groups);
                }
            }
        }
        groups
    }
}

/// The first rule for the caller's place gives shares to the places it lists; nobody else gets anything.
fn distribute(groups: &mut [LocalityGroup<'_>], rules: &[LocalityDistribute], place: Place<'_>) {
    let Some(rule) = rules.iter().find(|rule| place.matches(&rule.from)) else {
        return;
    };
    let mut listed = vec![false; groups.len()];
    for (pattern, share) in &rule.to {
        let covered: Vec<usize> = (0..groups.len())
            .filter(|index| !listed[*index] && Place::parse(groups[*index].locality).matches(pattern))
            .collect();
        let whole: u64 = covered.iter().map(|index| u64::from(groups[*index].weight)).sum();
        for index in covered {
            listed[index] = true;
            let group = &mut groups[index];
            // A share of at most 100 of at most all.
            let part = (u64::from(group.weight) * u64::from(*share)).div_ceil(whole.max(1));
            group.weight = u32::try_from(part).unwrap_or(u32::MAX);
        }
    }
    for (group, _) in groups.iter_mut().zip(listed).filter(|(_, listed)| !listed) {
        group.endpoints.clear();
    }
}

/// Nearer first; regions that stand in for the caller's before all the others.
fn by_distance(groups: &mut [LocalityGroup<'_>], regions: &[LocalityFailover], place: Place<'_>) {
    let stands_in = regions.iter().find(|failover| failover.from == place.region).map(|failover| failover.to.as_str());
    for group in groups {
        let of = Place::parse(group.locality);
        let distance = match place.distance(of) {
            3 if stands_in.is_some_and(|region| region != of.region) => 4,
            distance => distance,
        };
        group.priority = group.priority.saturating_mul(DISTANCES).saturating_add(distance);
    }
}

/// Splits a group by how many of the labels, in order, an endpoint shares with the caller.
fn by_labels<'a>(group: &LocalityGroup<'a>, labels: &[String], caller: &Caller<'_>) -> Vec<LocalityGroup<'a>> {
    let count = u32::try_from(labels.len()).unwrap_or(u32::MAX);
    let mut split: BTreeMap<u32, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in &group.endpoints {
        let have = Labels {
            labels: &endpoint.labels,
            locality: &endpoint.locality,
            cluster_id: caller.labels.cluster_id,
            node: &endpoint.node,
        };
        let mut priority = 0;
        for (left, (index, label)) in (1..=count).rev().zip(labels.iter().enumerate()) {
            let (key, want) = match label.split_once('=') {
                Some((key, value)) => (key, value),
                None => (label.as_str(), caller.labels.get(label)),
            };
            if have.get(key) == want {
                continue;
            }
            if index == 0 && key == NETWORK {
                // Another network is worse than anything else, and what else is near still counts.
                priority = count;
                continue;
            }
            priority += left;
            break;
        }
        split.entry(priority).or_default().push(endpoint);
    }
    split.into_iter().map(|(priority, endpoints)| LocalityGroup::new(group.locality, priority, endpoints)).collect()
}

/// Priorities without gaps, in the same order.
fn compact(groups: &mut [LocalityGroup<'_>]) {
    let mut used: Vec<u32> = groups.iter().map(|group| group.priority).collect();
    used.sort_unstable();
    used.dedup();
    for group in groups {
        let place = used.binary_search(&group.priority).unwrap_or_default();
        group.priority = u32::try_from(place).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: &str, locality: &str, weight: u32, labels: &[(&str, &str)]) -> Endpoint {
        Endpoint {
            address: address.to_owned(),
            port: 80,
            service_port: 80,
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            locality: locality.to_owned(),
            weight,
            workload: String::new(),
            namespace: String::new(),
            service_account: String::new(),
            node: String::new(),
            mesh_tls: false,
        }
    }

    /// `address:priority*weight` of every group with endpoints, for a caller there.
    fn grouped(preference: &LocalityPreference<'_>, caller: &Caller<'_>, endpoints: &[Endpoint]) -> Vec<String> {
        preference
            .groups(endpoints, caller)
            .iter()
            .filter(|group| !group.endpoints.is_empty())
            .map(|group| {
                let addresses: Vec<_> = group.endpoints.iter().map(|endpoint| endpoint.address.as_str()).collect();
                format!("{}:{}*{}", addresses.join("+"), group.priority, group.weight)
            })
            .collect()
    }

    fn everywhere() -> Vec<Endpoint> {
        ["r1/z1/s1", "r1/z1/s2", "r1/z2/s1", "r2/z1/s1", "r3/z1/s1"]
            .iter()
            .enumerate()
            .map(|(n, locality)| endpoint(&n.to_string(), locality, 1, &[]))
            .collect()
    }

    fn setting(edit: impl FnOnce(&mut LocalityLbSetting)) -> LocalityLbSetting {
        let mut setting = LocalityLbSetting::default();
        edit(&mut setting);
        setting
    }

    fn failover(from: &str, to: &str) -> LocalityFailover {
        LocalityFailover { from: from.to_owned(), to: to.to_owned() }
    }

    #[test]
    fn near_endpoints_come_first_and_gaps_close() {
        let labels = BTreeMap::new();
        let none = setting(|_| {});
        let near = of_setting(&none, true);
        assert!(!near.weighs_localities());
        let caller = |place| Caller::new(place, &labels, "");
        assert_eq!(grouped(&near, &caller("r1/z1/s1"), &everywhere()), ["0:0*1", "1:1*1", "2:2*1", "3:3*1", "4:3*1"]);
        // Nobody in the same zone.
        assert_eq!(grouped(&near, &caller("r2/z9/"), &everywhere()), ["0:1*1", "1:1*1", "2:1*1", "3:0*1", "4:1*1"]);
        // A caller of whom nothing is known is equally far from all.
        assert_eq!(grouped(&near, &caller(""), &everywhere()), ["0:0*1", "1:0*1", "2:0*1", "3:0*1", "4:0*1"]);
    }

    #[test]
    fn a_region_that_stands_in_comes_before_the_others() {
        let labels = BTreeMap::new();
        let setting = setting(|setting| setting.failover = vec![failover("r1", "r3"), failover("r1", "r2")]);
        let preference = of_setting(&setting, true);
        assert!(preference.weighs_localities());
        let at = |place| grouped(&preference, &Caller::new(place, &labels, ""), &everywhere());
        assert_eq!(at("r1/z1/s1"), ["0:0*1", "1:1*1", "2:2*1", "3:4*1", "4:3*1"]);
        // Of another region nothing is said.
        assert_eq!(at("r2/z1/s1"), ["0:1*1", "1:1*1", "2:1*1", "3:0*1", "4:1*1"]);
    }

    #[test]
    fn shares_replace_weights_and_leave_out_the_rest() {
        let labels = BTreeMap::new();
        let rule = |from: &str, to: &[(&str, u32)]| LocalityDistribute {
            from: from.to_owned(),
            to: to.iter().map(|(place, share)| ((*place).to_owned(), *share)).collect(),
        };
        let setting = setting(|setting| {
            setting.distribute = vec![rule("r1/z1/*", &[("r1/*", 80), ("r2", 20)]), rule("*", &[("r3/z1/s1", 100)])];
        });
        // Outlier detection is not needed.
        let preference = of_setting(&setting, false);
        let mut endpoints = everywhere();
        endpoints[0].weight = 3;
        let at = |place| grouped(&preference, &Caller::new(place, &labels, ""), &endpoints);
        // 80 in shares of 3, 1 and 1, rounded up.
        assert_eq!(at("r1/z1/s9"), ["0:0*48", "1:0*16", "2:0*16", "3:0*20"]);
        assert_eq!(at("r1/z2/s1"), ["4:0*100"]);
        assert!(preference.weighs_localities());
        // No rule for the caller: nothing changes.
        let only = LocalityLbSetting { distribute: vec![rule("r9", &[("r1", 100)])], ..LocalityLbSetting::default() };
        let preference = of_setting(&only, false);
        let unchanged = grouped(&preference, &Caller::new("r1/z1/s1", &labels, ""), &endpoints);
        assert_eq!(unchanged, ["0:0*3", "1:0*1", "2:0*1", "3:0*1", "4:0*1"]);
    }

    #[test]
    fn labels_in_order_decide_and_split_localities() {
        let own: BTreeMap<String, String> =
            [("version".to_owned(), "v1".to_owned()), (NETWORK.to_owned(), "n1".to_owned())].into();
        let endpoints = [
            endpoint("a", "r1/z1", 1, &[("version", "v1"), (NETWORK, "n1")]),
            endpoint("b", "r1/z1", 2, &[("version", "v2"), (NETWORK, "n1")]),
            endpoint("c", "r2/z1", 1, &[("version", "v1"), (NETWORK, "n1")]),
            endpoint("d", "r1/z1", 1, &[("version", "v1"), (NETWORK, "n2")]),
        ];
        let caller = Caller::new("r1/z1", &own, "");
        let by = |labels: &[&str]| {
            let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
            let setting = setting(|setting| setting.failover_priority = labels);
            grouped(&of_setting(&setting, true), &caller, &endpoints)
        };
        assert_eq!(by(&[REGION, "version"]), ["a+d:0*2", "b:1*2", "c:2*1"]);
        assert_eq!(by(&["version", REGION]), ["a+d:0*2", "b:2*2", "c:1*1"]);
        // A value that is given counts instead of the caller's.
        assert_eq!(by(&["version=v2"]), ["b:0*2", "a+d:1*2", "c:1*1"]);
        // Another network is the last resort, whatever else fits.
        assert_eq!(by(&[NETWORK, REGION, "version"]), ["a:0*1", "b:1*2", "d:3*1", "c:2*1"]);
    }

    #[test]
    fn labels_come_before_regions_when_both_are_given() {
        let own: BTreeMap<String, String> = [("version".to_owned(), "v1".to_owned())].into();
        let endpoints = [
            endpoint("near", "r1/z1/s1", 1, &[("version", "v2")]),
            endpoint("far", "r3/z1/s1", 1, &[("version", "v1")]),
            endpoint("stands-in", "r2/z1/s1", 1, &[("version", "v1")]),
        ];
        let setting = setting(|setting| {
            setting.failover_priority = vec!["version".to_owned()];
            setting.failover = vec![failover("r1", "r2")];
        });
        let got = grouped(&of_setting(&setting, true), &Caller::new("r1/z1/s1", &own, ""), &endpoints);
        assert_eq!(got, ["near:2*1", "stands-in:0*1", "far:1*1"]);
    }

    #[test]
    fn priorities_need_something_that_finds_failing_endpoints() {
        let setting = setting(|setting| setting.failover = vec![failover("r1", "r2")]);
        assert_eq!(of_setting(&setting, false), LocalityPreference::None);
        let off = LocalityLbSetting { enabled: Some(false), ..setting };
        assert_eq!(of_setting(&off, true), LocalityPreference::None);
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        let labels = BTreeMap::new();
        let setting = setting(|setting| {
            setting.distribute = vec![LocalityDistribute { from: "*".to_owned(), to: [("r1".to_owned(), 100)].into() }];
        });
        let endpoints: Vec<_> = (0..3).map(|n| endpoint(&n.to_string(), "r1", u32::MAX, &[])).collect();
        assert_eq!(grouped(&of_setting(&setting, false), &Caller::new("", &labels, ""), &endpoints), ["0+1+2:0*100"]);
    }
}
