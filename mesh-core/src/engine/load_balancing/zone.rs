//! Zone-aware routing: requests stay in the caller's zone as far as its part of the hosts allows.
//!
//! If the zone has as large a part of the upstream's hosts as of the callers, everything stays. Otherwise as much stays as
//! its hosts can take for the callers in it, and the rest goes where hosts are more than their callers.

use super::HostIndex;
use super::set::HostSet;
use crate::engine::random::Random;
use crate::resource::cluster::ZoneAware;
use crate::resource::endpoint::Locality;

/// Where the caller is, and where its peers are: the hosts of the caller's own service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbourhood {
    /// The caller's locality.
    pub own: Locality,
    /// The healthy hosts of the caller's service by locality.
    pub peers: Vec<(Locality, u64)>,
}

/// Which of several zones takes a request.
#[derive(Debug)]
pub(super) struct Zones {
    /// How many of 10,000 requests stay.
    stay: u64,
    own: usize,
    /// What each zone has over, added up.
    residual: Box<[u64]>,
    pub(super) sets: Box<[HostSet]>,
    /// Of 100 requests, how many are for these zones at all.
    enabled: f64,
    pub(super) all: HostSet,
}

/// The healthy hosts of one zone and what they count for.
pub(super) struct Zone<'a> {
    pub(super) locality: &'a Locality,
    pub(super) healthy: Vec<HostIndex>,
    pub(super) weight: u64,
}

/// How the requests of a caller are divided over zones; `None` when it does not matter where it is.
pub(super) struct Division {
    stay: u64,
    own: usize,
    residual: Box<[u64]>,
}

impl Division {
    pub(super) fn new(config: &ZoneAware, neighbourhood: &Neighbourhood, zones: &[Zone<'_>]) -> Option<Self> {
        let peers_of = |locality: &Locality| -> u64 {
            neighbourhood.peers.iter().filter(|(peers, _)| peers == locality).map(|(_, count)| *count).sum()
        };
        let peers: u64 = neighbourhood.peers.iter().map(|(_, count)| *count).sum();
        let peer_zones = neighbourhood.peers.iter().filter(|(_, count)| *count > 0).count();
        let own = zones.iter().position(|zone| *zone.locality == neighbourhood.own)?;
        let own_peers = peers_of(&neighbourhood.own);
        if zones.len() < 2 || peer_zones < 2 || own_peers == 0 {
            return None;
        }
        let healthy: usize = zones.iter().map(|zone| zone.healthy.len()).sum();
        let here = zones[own].healthy.len() as u64;
        let none_over = || zones.iter().map(|_| 0).collect();
        if config.force_local_zone.is_some_and(|least| here >= u64::from(least.max(1))) {
            return Some(Self { stay: WHOLE, own, residual: none_over() });
        }
        if (healthy as u64) < config.min_cluster_size {
            return None;
        }
        let weight: u64 = zones.iter().map(|zone| zone.weight).sum();
        let part = |of: u64, all: u64| {
            let part = (u128::from(of) * u128::from(WHOLE)).checked_div(u128::from(all)).unwrap_or_default();
            u64::try_from(part).unwrap_or(WHOLE)
        };
        let upstream: Vec<u64> = zones.iter().map(|zone| part(zone.weight, weight)).collect();
        let local: Vec<u64> = zones.iter().map(|zone| part(peers_of(zone.locality), peers)).collect();
        if upstream[own] >= local[own] {
            return Some(Self { stay: WHOLE, own, residual: none_over() });
        }
        let mut sum = 0;
        let over = (0..zones.len()).map(|at| {
            if at != own {
                sum += upstream[at].saturating_sub(local[at]);
            }
            sum
        });
        Some(Self { residual: over.collect(), stay: part(upstream[own], local[own]), own })
    }

    pub(super) fn over(self, config: &ZoneAware, sets: Box<[HostSet]>, all: HostSet) -> Zones {
        let Self { stay, own, residual } = self;
        Zones { stay, own, residual, sets, enabled: config.routing_enabled, all }
    }
}

/// A part is of so many.
const WHOLE: u64 = 10_000;

impl Zones {
    /// The hosts that take the next request.
    pub(super) fn choose(&self, random: &mut Random) -> &HostSet {
        if self.enabled < 100.0 && random.fraction() * 100.0 >= self.enabled {
            return &self.all;
        }
        let below = |random: &mut Random, bound: u64| random.below(usize::try_from(bound).unwrap_or(usize::MAX)) as u64;
        let at = if self.stay >= WHOLE || below(random, WHOLE) < self.stay {
            self.own
        } else {
            match self.residual.last().copied().unwrap_or_default() {
                0 => random.below(self.sets.len()),
                over => {
                    let drawn = below(random, over);
                    self.residual.iter().position(|sum| drawn < *sum).unwrap_or(self.own)
                }
            }
        };
        &self.sets[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Locality {
        Locality { zone: name.to_owned(), ..Locality::default() }
    }

    fn divide(config: &ZoneAware, upstream: &[(&str, u32)], peers: &[(&str, u64)]) -> Option<(u64, Vec<u64>)> {
        let names: Vec<Locality> = upstream.iter().map(|(name, _)| zone(name)).collect();
        let zones: Vec<Zone<'_>> = upstream
            .iter()
            .zip(&names)
            .map(|((_, count), locality)| Zone {
                locality,
                healthy: (0..*count).map(HostIndex).collect(),
                weight: u64::from(*count),
            })
            .collect();
        let peers = peers.iter().map(|(name, count)| (zone(name), *count)).collect();
        let division = Division::new(config, &Neighbourhood { own: zone("a"), peers }, &zones)?;
        Some((division.stay, division.residual.into()))
    }

    #[test]
    fn what_the_own_zone_cannot_take_goes_where_hosts_are_over() {
        let config = ZoneAware::default();
        assert_eq!(divide(&config, &[("a", 4), ("b", 4)], &[("a", 2), ("b", 2)]), Some((WHOLE, vec![0, 0])));
        let (stay, residual) = divide(&config, &[("a", 2), ("b", 4)], &[("a", 2), ("b", 2)]).unwrap();
        assert_eq!((stay, residual), (6_666, vec![0, 1_666]));
    }

    #[test]
    fn without_enough_hosts_or_peers_zones_do_not_matter() {
        let config = ZoneAware::default();
        assert_eq!(
            divide(&ZoneAware { min_cluster_size: 7, ..config }, &[("a", 2), ("b", 4)], &[("a", 2), ("b", 2)]),
            None
        );
        assert_eq!(divide(&config, &[("a", 8)], &[("a", 2), ("b", 2)]), None);
        assert_eq!(divide(&config, &[("a", 4), ("b", 4)], &[("a", 2)]), None);
        assert_eq!(divide(&config, &[("b", 4), ("c", 4)], &[("a", 2), ("b", 2)]), None);
    }

    #[test]
    fn a_forced_zone_keeps_everything_while_it_has_enough_hosts() {
        let forced = ZoneAware { force_local_zone: Some(2), ..ZoneAware::default() };
        assert_eq!(divide(&forced, &[("a", 2), ("b", 4)], &[("a", 2), ("b", 2)]).unwrap().0, WHOLE);
        assert_eq!(divide(&forced, &[("a", 1), ("b", 5)], &[("a", 2), ("b", 2)]).unwrap().0, 3_332);
    }
}
