//! Priorities and localities: who is picked from together, and how requests are divided over them.

use super::load::{Counts, Share, shares};
use super::set::{Draw, HostSet, parts_of};
use super::turns::Turns;
use super::zone::{Division, Zone, Zones};
use super::{Health, Host, HostIndex, Known};
use crate::engine::random::Random;
use crate::resource::cluster::{Cluster, LocalityLb};
use crate::resource::endpoint::Locality;
use crate::state::Lane;

/// Hosts of one priority and health.
#[derive(Debug)]
pub(super) enum Group {
    /// All together.
    Set(HostSet),
    /// By the weights of their localities.
    Localities { turns: Turns, sets: Box<[HostSet]> },
    /// By where the caller is.
    Zones(Box<Zones>),
}

impl Group {
    #[inline(never)]
    fn pick(&self, hosts: &[Host], draw: Draw, random: &mut Random, lane: Lane) -> Option<HostIndex> {
        let set = match self {
            Self::Set(set) => set,
            Self::Localities { turns, sets } => sets.get(turns.next())?,
            Self::Zones(zones) => zones.choose(random),
        };
        set.pick(hosts, draw, random, lane)
    }

    fn sets(&self) -> &[HostSet] {
        match self {
            Self::Set(set) => std::slice::from_ref(set),
            Self::Localities { sets, .. } => sets,
            Self::Zones(zones) => &zones.sets,
        }
    }

    fn go_on_from(&mut self, before: &Self) {
        if let (Self::Set(set), Self::Set(before)) = (self, before) {
            set.go_on_from(before);
        }
    }
}

/// One priority.
#[derive(Debug)]
struct Level {
    priority: u32,
    counts: Counts,
    healthy: Group,
    degraded: Group,
}

/// All priorities of a cluster.
#[derive(Debug)]
pub(super) struct Levels {
    levels: Box<[Level]>,
    shares: Box<[Share]>,
    overprovisioning: u32,
    panic_threshold: f64,
    hashes: bool,
}

impl Levels {
    /// The hosts that take a draw of `0..100`, healthy ones first.
    pub(super) fn pick(&self, hosts: &[Host], draw: Draw, random: &mut Random, lane: Lane) -> Option<HostIndex> {
        self.of_share(&self.shares, draw, random)?.pick(hosts, draw, random, lane)
    }

    /// As [`Self::pick`], from priorities that `left_out` does not name, while there are any.
    pub(super) fn pick_beside(
        &self,
        left_out: impl Fn(u32) -> bool,
        hosts: &[Host],
        draw: Draw,
        random: &mut Random,
        lane: Lane,
    ) -> Option<HostIndex> {
        let out = |at: usize| left_out(self.levels[at].priority);
        let counts: smallvec::SmallVec<[Counts; 8]> = self.levels.iter().map(|level| level.counts).collect();
        if self.hashes || (0..self.levels.len()).all(out) {
            return self.pick(hosts, draw, random, lane);
        }
        let shares = shares(&counts, self.overprovisioning, self.panic_threshold, out);
        self.of_share(&shares, draw, random)?.pick(hosts, draw, random, lane)
    }

    fn of_share(&self, shares: &[Share], draw: Draw, random: &mut Random) -> Option<&Group> {
        #[allow(clippy::cast_possible_truncation, reason = "below 100")]
        let mut drawn = if self.hashes { (draw.hash % 100) as u32 } else { random.below(100) as u32 };
        for (level, share) in self.levels.iter().zip(shares) {
            if drawn < share.healthy {
                return Some(&level.healthy);
            }
            drawn -= share.healthy;
        }
        for (level, share) in self.levels.iter().zip(shares) {
            if drawn < share.degraded {
                // A hash finds its priority's one table, which is of healthy hosts.
                return Some(if self.hashes { &level.healthy } else { &level.degraded });
            }
            drawn -= share.degraded;
        }
        None
    }

    /// Everybody who can be picked.
    pub(super) fn members(&self) -> Vec<HostIndex> {
        let used = self.levels.iter().zip(&self.shares).flat_map(|(level, share)| {
            let healthy = (share.healthy > 0 || self.hashes && share.degraded > 0).then_some(&level.healthy);
            let degraded = (share.degraded > 0 && !self.hashes).then_some(&level.degraded);
            healthy.into_iter().chain(degraded)
        });
        let mut members: Vec<HostIndex> = used.flat_map(Group::sets).flat_map(HostSet::members).copied().collect();
        members.sort_unstable();
        members
    }

    /// The one set that takes everything, if it is so.
    pub(super) fn into_only(self) -> Result<HostSet, Self> {
        let only = match (&*self.levels, &*self.shares) {
            ([], _) => return Ok(HostSet::nobody()),
            ([level], [share]) => share.healthy == 100 && matches!(level.healthy, Group::Set(_)),
            _ => false,
        };
        if !only {
            return Err(self);
        }
        let level = self.levels.into_iter().next();
        match level.map(|level| level.healthy) {
            Some(Group::Set(set)) => Ok(set),
            _ => Ok(HostSet::nobody()),
        }
    }

    pub(super) fn go_on_from(&mut self, before: &Self) {
        for level in &mut self.levels {
            if let Some(before) = before.levels.iter().find(|before| before.priority == level.priority) {
                level.healthy.go_on_from(&before.healthy);
                level.degraded.go_on_from(&before.degraded);
            }
        }
    }

    /// Divides hosts into priorities and localities, and compiles them.
    pub(super) fn compile(
        config: &Cluster,
        hosts: &[Host],
        places: &[Place<'_>],
        known: &Known<'_>,
        random: &mut Random,
    ) -> Self {
        let mut by_priority: Vec<(u32, Vec<Region<'_>>)> = Vec::new();
        for (index, place) in (0u32..).zip(places) {
            let regions = match by_priority.iter_mut().position(|(priority, _)| *priority == place.priority) {
                Some(at) => &mut by_priority[at].1,
                None => {
                    by_priority.push((place.priority, Vec::new()));
                    let last = by_priority.len() - 1;
                    &mut by_priority[last].1
                }
            };
            let region = match regions.iter().position(|region| region.locality == place.locality) {
                Some(at) => at,
                None => {
                    regions.push(Region { locality: place.locality, weight: 0, hosts: Vec::new() });
                    regions.len() - 1
                }
            };
            regions[region].weight = place.weight;
            regions[region].hosts.push((HostIndex(index), hosts[index as usize].health()));
        }
        by_priority.sort_by_key(|(priority, _)| *priority);
        let counts: Vec<Counts> =
            by_priority.iter().map(|(_, regions)| count(known.weighted_priority_health, hosts, regions)).collect();
        let threshold = config.healthy_panic_threshold;
        let shares = shares(&counts, known.overprovisioning_factor, threshold, |_| false);
        let compile = Compile { config, hosts, known };
        let several = by_priority.len() > 1;
        let levels = by_priority.iter().zip(&counts).zip(&shares).enumerate();
        let levels = levels.map(|(at, (((priority, regions), counts), share))| Level {
            priority: *priority,
            counts: *counts,
            healthy: match share.panics {
                true if config.fail_traffic_on_panic => Group::Set(HostSet::nobody()),
                true => compile.together(regions, |_| true, random),
                // A table of hashes is dear: only where it is read.
                false if config.lb_policy.hashes() && share.healthy + share.degraded == 0 => {
                    Group::Set(HostSet::nobody())
                }
                false => compile.group(regions, Health::Healthy, at == 0, random),
            },
            degraded: if config.lb_policy.hashes() || (!several && share.degraded == 0) {
                Group::Set(HostSet::nobody())
            } else {
                compile.group(regions, Health::Degraded, false, random)
            },
        });
        Self {
            levels: levels.collect(),
            shares: shares.into_vec().into(),
            overprovisioning: known.overprovisioning_factor,
            panic_threshold: threshold,
            hashes: config.lb_policy.hashes(),
        }
    }
}

/// Where a host is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) priority: u32,
    pub(super) locality: &'a Locality,
    /// Of the locality; unset is 0.
    pub(super) weight: u32,
}

/// One locality of a priority.
struct Region<'a> {
    locality: &'a Locality,
    weight: u32,
    hosts: Vec<(HostIndex, Health)>,
}

impl Region<'_> {
    fn of(&self, wanted: Health) -> Vec<HostIndex> {
        self.hosts.iter().filter(|(_, health)| *health == wanted).map(|(index, _)| *index).collect()
    }
}

fn count(by_weight: bool, hosts: &[Host], regions: &[Region<'_>]) -> Counts {
    let mut counts = Counts::default();
    for (index, health) in regions.iter().flat_map(|region| &region.hosts) {
        let weight = if by_weight { hosts[index.0 as usize].endpoint.weight.into() } else { 1 };
        counts.hosts += 1;
        if *health == Health::Excluded {
            continue;
        }
        counts.counted += 1;
        counts.weight += weight;
        match health {
            Health::Healthy => {
                (counts.healthy, counts.healthy_weight) = (counts.healthy + 1, counts.healthy_weight + weight)
            }
            Health::Degraded => {
                (counts.degraded, counts.degraded_weight) = (counts.degraded + 1, counts.degraded_weight + weight);
            }
            _ => {}
        }
    }
    counts
}

struct Compile<'a> {
    config: &'a Cluster,
    hosts: &'a [Host],
    known: &'a Known<'a>,
}

impl Compile<'_> {
    fn set(&self, mut members: Vec<HostIndex>, parts: Option<Vec<f64>>, random: &mut Random) -> HostSet {
        if parts.is_none() {
            members.sort_unstable();
        }
        HostSet::new(self.config, self.hosts, members, parts, self.known.state, random).warming(
            self.config,
            self.hosts,
            self.known.since,
        )
    }

    fn together(&self, regions: &[Region<'_>], wanted: impl Fn(Health) -> bool, random: &mut Random) -> Group {
        let hosts = regions.iter().flat_map(|region| &region.hosts).filter(|(_, health)| wanted(*health));
        Group::Set(self.set(hosts.map(|(index, _)| *index).collect(), None, random))
    }

    fn group(&self, regions: &[Region<'_>], wanted: Health, first: bool, random: &mut Random) -> Group {
        let group = match &self.config.locality_lb {
            LocalityLb::Weighted => self.by_weight(regions, wanted, random),
            LocalityLb::ZoneAware(config) if first && wanted == Health::Healthy => {
                self.known.neighbourhood.filter(|_| !self.config.lb_policy.hashes()).and_then(|neighbourhood| {
                    let zones: Vec<Zone<'_>> = regions
                        .iter()
                        .map(|region| {
                            let healthy = region.of(Health::Healthy);
                            let weight = |index: &HostIndex| match config.by_weight {
                                true => u64::from(self.hosts[index.0 as usize].endpoint.weight),
                                false => 1,
                            };
                            Zone { locality: region.locality, weight: healthy.iter().map(weight).sum(), healthy }
                        })
                        .collect();
                    let division = Division::new(config, neighbourhood, &zones)?;
                    let all = zones.iter().flat_map(|zone| &zone.healthy).copied().collect();
                    let sets = zones.into_iter().map(|zone| self.set(zone.healthy, None, random)).collect();
                    Some(Group::Zones(Box::new(division.over(config, sets, self.set(all, None, random)))))
                })
            }
            LocalityLb::ZoneAware(_) => None,
        };
        group.unwrap_or_else(|| self.together(regions, |health| health == wanted, random))
    }

    /// By the weights of localities, each shrunk by what of it is available; `None` when none has one.
    fn by_weight(&self, regions: &[Region<'_>], wanted: Health, random: &mut Random) -> Option<Group> {
        if self.config.lb_policy.hashes() {
            return self.table_by_weight(regions, wanted, random);
        }
        let mut weights = Vec::new();
        let mut sets = Vec::new();
        for region in regions {
            let members = region.of(wanted);
            let counted = region.hosts.iter().filter(|(_, health)| *health != Health::Excluded).count() as u64;
            let available = u64::from(self.known.overprovisioning_factor) * members.len() as u64;
            // In units fine enough for every quotient of two numbers of hosts.
            let weight = u128::from(region.weight) * u128::from(FINE) * u128::from(available.min(100 * counted));
            let weight = u64::try_from(weight / u128::from((100 * counted).max(1))).unwrap_or(u64::MAX);
            if weight > 0 {
                weights.push(weight);
                sets.push(self.set(members, None, random));
            }
        }
        (!sets.is_empty()).then(|| Group::Localities { turns: Turns::new(&weights, random), sets: sets.into() })
    }

    /// One table over all localities, each with its part of it.
    fn table_by_weight(&self, regions: &[Region<'_>], wanted: Health, random: &mut Random) -> Option<Group> {
        let sum: f64 = regions.iter().map(|region| f64::from(region.weight)).sum();
        if sum <= 0.0 {
            return None;
        }
        let mut members: Vec<(HostIndex, f64)> = Vec::new();
        for region in regions.iter().filter(|region| region.weight > 0) {
            let hosts = region.of(wanted);
            let weights: Vec<u32> =
                hosts.iter().map(|index| self.hosts[index.0 as usize].endpoint.weight.max(1)).collect();
            members.extend(hosts.into_iter().zip(parts_of(&weights, f64::from(region.weight) / sum)));
        }
        members.sort_unstable_by_key(|(index, _)| *index);
        let (members, parts) = members.into_iter().unzip();
        Some(Group::Set(self.set(members, Some(parts), random)))
    }
}

/// Parts of one unit of a locality's weight.
const FINE: u64 = 1 << 20;
