//! What needs a feature that is still to come.

use mesh_tests::lb::Check::Waits;
use mesh_tests::lb::Family;

pub(super) const CASES: Family = &[
    ("adaptive_concurrency", Waits("filter adaptive_concurrency")),
    ("subset_sub", Waits("subset load balancing")),
    ("subset_sub_any", Waits("subset load balancing")),
    ("subset_sub_def", Waits("subset load balancing")),
    ("admission_control_defaults", Waits("filter admission_control")),
    ("aggregate_m1_2of4_m2_full", Waits("aggregate clusters")),
    ("adaptive_concurrency_min_rtt", Waits("filter adaptive_concurrency")),
];
