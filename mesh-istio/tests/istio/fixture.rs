//! A small folder of three services in the three ways of declaring them, as a user would write it.

use std::path::Path;

use mesh_istio::{MeshConfig, ProxyContext, World, lower};

use crate::data;
use crate::support::{cluster, endpoints, virtual_host};

fn world() -> World {
    World::load(data::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture"), &[".yaml"]))
}

#[test]
fn a_folder_without_mistakes_draws_no_remark() {
    let world = world();
    assert_eq!(world.objects().len(), 9);
    let lowered = lower(&world, &ProxyContext::new("shop"), &MeshConfig::default());
    assert_eq!((world.findings(), lowered.findings.as_slice()), ([].as_slice(), [].as_slice()));
}

#[test]
fn each_way_of_declaring_a_service_gives_its_endpoints() {
    let lowered = lower(&world(), &ProxyContext::new("shop"), &MeshConfig::default());
    let reviews = "reviews.shop.svc.cluster.local";
    assert_eq!(endpoints(&lowered, &format!("outbound|9080||{reviews}")), ["127.0.0.11:19081", "127.0.0.12:19082"]);
    assert_eq!(endpoints(&lowered, &format!("outbound|9080|v2|{reviews}")), ["127.0.0.12:19082"]);
    assert_eq!(endpoints(&lowered, "outbound|9080||ratings.shop.svc.cluster.local"), ["127.0.0.21:19090"]);
    assert_eq!(cluster(&lowered, "outbound|80||currency.example.com")["type"], "STRICT_DNS");
    let host = virtual_host(&lowered, "9080", &format!("{reviews}:9080"));
    let names: Vec<_> =
        host["routes"].as_array().unwrap().iter().map(|route| route["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["jason", "split"]);
}

#[test]
fn what_decided_is_found_by_the_path_in_metadata() {
    let world = world();
    let lowered = lower(&world, &ProxyContext::new("shop"), &MeshConfig::default());
    let host = virtual_host(&lowered, "9080", "reviews.shop.svc.cluster.local:9080");
    let path = host.pointer("/routes/0/metadata/filterMetadata/istio/config").unwrap().as_str().unwrap();
    let object = world.object_at(path).unwrap();
    assert_eq!(
        (object.id.to_string().as_str(), &*object.file, object.line),
        ("VirtualService/shop/reviews", "10-reviews.yaml", 51)
    );
}
