//! The split that a VirtualService asks for, read from the file that it stands in.

use serde::Deserialize;

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    kind: String,
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    http: Vec<Route>,
}

#[derive(Deserialize)]
struct Route {
    #[serde(default, rename = "match")]
    matches: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    route: Vec<Destination>,
}

#[derive(Deserialize)]
struct Destination {
    destination: Subset,
    #[serde(default)]
    weight: u32,
}

#[derive(Deserialize)]
struct Subset {
    #[serde(default)]
    subset: String,
}

/// The share, 0 to 1, of each subset for whom no match applies, in the first VirtualService of `yaml`; empty when there
/// is no such route.
#[must_use]
pub fn weights(yaml: &str) -> Vec<(String, f64)> {
    let objects = yaml.split("\n---").filter_map(|document| serde_saphyr::from_str::<Object>(document).ok());
    let route = objects
        .filter(|object| object.kind == "VirtualService")
        .flat_map(|object| object.spec.http)
        .find(|route| route.matches.is_none());
    let destinations = route.map(|route| route.route).unwrap_or_default();
    // A lone destination needs no weight.
    let lone = destinations.len() == 1;
    let weight = |destination: &Destination| f64::from(if lone { 1 } else { destination.weight });
    let whole: f64 = destinations.iter().map(weight).sum();
    if whole <= 0.0 {
        return Vec::new();
    }
    destinations.iter().map(|each| (each.destination.subset.clone(), weight(each) / whole)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_split_is_read() {
        let read = weights(include_str!("../../mesh/reviews.yaml"));
        assert_eq!(read, [("v1".to_owned(), 0.8), ("v2".to_owned(), 0.2)]);
    }

    #[test]
    fn without_a_route_for_everybody_nothing_is_expected() {
        assert!(weights("kind: VirtualService\nspec: {http: [{match: [{uri: {exact: /}}], route: []}]}").is_empty());
        assert!(weights("no: [yaml").is_empty());
    }
}
