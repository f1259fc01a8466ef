//! What holds for every table and every request, over generated ones.

use super::*;
use crate::engine::random::Random;
use crate::resource::matcher::{HeaderMatcher, HeaderSpecifier, StringMatcher};
use crate::resource::route::{ClusterSpecifier, FractionalPercent, PathSpecifier, WeightedCluster, WeightedClusters};

fn pick<'a, T: ?Sized>(random: &mut Random, from: &[&'a T]) -> &'a T {
    from[random.below(from.len())]
}

/// Longer than what the quick test looks at.
const LONG: &str = match std::str::from_utf8(&LONG_BYTES) {
    Ok(text) => text,
    Err(_) => "",
};
const LONG_BYTES: [u8; 400] = {
    let mut bytes = [b'a'; 400];
    bytes[0] = b'/';
    bytes
};

fn some_match(random: &mut Random) -> RouteMatch {
    let text = pick(random, &["/", "/a", "/a/b", "/b", "/A", LONG]);
    let path = match random.below(5) {
        0 => PathSpecifier::Path(text.into()),
        1 if text.len() > 1 => PathSpecifier::PathSeparatedPrefix(text.into()),
        2 => PathSpecifier::SafeRegex(format!("{text}.*")),
        _ => PathSpecifier::Prefix(text.into()),
    };
    let mut matches = RouteMatch { case_sensitive: random.below(4) > 0, ..RouteMatch::new(path) };
    if random.below(3) == 0 {
        let mut header =
            HeaderMatcher::new("x-a", HeaderSpecifier::String(StringMatcher::exact(pick(random, &["1", "2"]))));
        header.invert_match = random.below(2) == 0;
        matches.headers.push(header);
    }
    matches.grpc = random.below(6) == 0;
    if random.below(4) == 0 {
        matches.runtime_fraction = Some(FractionalPercent::percent(50));
    }
    matches
}

fn some_request(random: &mut Random) -> Asked {
    let mut asked = Asked::get(pick(random, &["/", "/a", "/a/b?q", "/ab", "/b", "/A/c", "/x", LONG, &LONG[..300]]));
    if random.below(2) == 0 {
        asked = asked.header("x-a", pick(random, &["1", "2", "3"]));
    }
    if random.below(3) == 0 {
        asked = asked.header("content-type", "application/grpc");
    }
    asked
}

#[test]
fn deciding_and_explaining_agree_on_every_request() {
    let mut random = Random::from_seed(1);
    let (mut taken, mut none) = (0, 0);
    for _ in 0..300 {
        let count = random.below(8);
        let list = (0..count).map(|at| {
            if random.below(3) == 0 {
                let clusters = vec![WeightedCluster::new("x", 1), WeightedCluster::new("y", 2)];
                let cluster =
                    ClusterSpecifier::WeightedClusters(WeightedClusters { clusters, random_value_header: None });
                forward(some_match(&mut random), Forward::new(cluster))
            } else {
                route(some_match(&mut random), &at.to_string())
            }
        });
        let table = compile(&routes(list.collect()));
        for _ in 0..50 {
            let (asked, bits) = (some_request(&mut random), random.bits());
            let decision = table.decide(&asked.facts(), bits);
            let explanation = table.explain(&asked.facts(), bits);
            assert_eq!(decision, explanation.decision, "{explanation}");
            match decision {
                Ok(decision) => {
                    taken += 1;
                    let (_, index, _) = explanation.route.as_ref().unwrap();
                    assert_eq!((*index, explanation.skipped.len()), (decision.route as usize, *index));
                }
                Err(_) => {
                    none += 1;
                    assert_eq!(explanation.skipped.len(), count);
                }
            }
        }
    }
    assert!(taken > 1000 && none > 1000, "both ways out must have been taken: {taken} {none}");
}

/// Envoy's rule for virtual hosts, written down as it is documented.
fn expected_domain<'d>(domains: &[&'d str], host: &str) -> Option<&'d str> {
    let host = host.to_lowercase();
    let longest = |fits: &dyn Fn(&str) -> bool| {
        domains.iter().copied().filter(|domain| fits(domain)).max_by_key(|domain| domain.len())
    };
    let exact = longest(&|domain| !domain.contains('*') && domain.to_lowercase() == host);
    let suffix = || {
        longest(&|domain| {
            domain.len() > 1
                && domain.starts_with('*')
                && host.len() > domain.len() - 1
                && host.ends_with(&domain[1..].to_lowercase())
        })
    };
    let prefix = || {
        longest(&|domain| {
            let head = domain.trim_end_matches('*').to_lowercase();
            domain.len() > 1 && domain.ends_with('*') && host.len() > head.len() && host.starts_with(&head)
        })
    };
    exact.or_else(suffix).or_else(prefix).or_else(|| domains.iter().copied().find(|domain| *domain == "*"))
}

#[test]
fn virtual_hosts_follow_exact_suffix_prefix_star_for_every_host() {
    let all = ["a", "a.b", "*.b", "*.a.b", "*b", "a.*", "a.b.*", "A*", "*", "b.a.b", "b:1", "*:1"];
    let pieces = ["a", "b", ".", ":", "1", "A"];
    let mut random = Random::from_seed(2);
    for _ in 0..300 {
        let domains: Vec<&str> = all.into_iter().filter(|_| random.below(2) == 0).collect();
        let table = compile(&config(
            domains.iter().map(|domain| host(&[domain], vec![route(RouteMatch::prefix("/"), domain)])).collect(),
        ));
        for _ in 0..200 {
            let length = 1 + random.below(6);
            let name: String = (0..length).map(|_| pick(&mut random, &pieces)).collect();
            let expected = expected_domain(&domains, &name).unwrap_or_default();
            assert_eq!(cluster(&table, &Asked::get("/").host(&name), 0), expected, "{name} among {domains:?}");
        }
    }
}

#[test]
fn nothing_that_looks_like_a_path_makes_deciding_panic() {
    let table = compile(&routes(vec![
        route(RouteMatch::new(PathSpecifier::UriTemplate("/{a}/*/**".into())), "t"),
        route(RouteMatch::new(PathSpecifier::PathSeparatedPrefix("/\u{e4}".into())), "s"),
        route(RouteMatch::prefix("/"), "p"),
    ]));
    let pieces = ["/", "?", "#", "%", "\u{e4}", "\u{0}", "..", ";", "*", "a"];
    let mut random = Random::from_seed(3);
    for _ in 0..20_000 {
        let length = random.below(8);
        let path: String = (0..length).map(|_| pick(&mut random, &pieces)).collect();
        let asked = Asked::get(&path).host(&path);
        let decision = table.decide(&asked.facts(), 0);
        assert_eq!(decision.is_ok(), path.split(['?', '#']).next().unwrap().starts_with('/'), "{path:?}");
    }
}
