//! Quotas that lead nowhere: bindings to specs that there are not, charges that no limit takes, handlers that no rule names.

use super::Checker;
use crate::finding::code;
use crate::mixer::{Joined, same_quota};

impl Checker<'_> {
    pub(super) fn quotas(&mut self) {
        let (world, mesh) = (self.world, self.mesh);
        let joined = Joined::of(world, mesh);
        for (object, handler) in joined.unruled() {
            let named: Vec<_> = handler.params.quotas.iter().map(|quota| quota.name.as_str()).collect();
            let reason = format!(
                "no rule names this handler: its limits ({}) are taken for all charges of their name, without dimensions",
                named.join(", ")
            );
            self.warn(object, code::QUOTA_COMPAT, "spec", reason);
        }
        for object in joined.unbound() {
            let reason = "no QuotaSpecBinding names it: nobody is charged".to_owned();
            self.warn(object, code::INEFFECTIVE, "spec", reason);
        }
        for (object, binding) in &joined.bindings {
            for (index, reference) in binding.quota_specs.iter().enumerate() {
                let field = format!("spec.quotaSpecs[{index}]");
                let Some((spec_object, spec)) = joined.spec(object, reference) else {
                    self.warn(
                        object,
                        code::QUOTA_UNKNOWN_SPEC,
                        &field,
                        format!("there is no QuotaSpec {}", reference.name),
                    );
                    continue;
                };
                let charged = spec.rules.iter().flat_map(|rule| &rule.quotas);
                for quota in charged.filter(|quota| quota.charge != Some(0)) {
                    let namespaces = [&*object.id.namespace, &*spec_object.id.namespace];
                    let by_service = binding.services.iter().map(|service| service.namespace.as_str());
                    let namespaces: Vec<_> = namespaces.into_iter().chain(by_service).collect();
                    let routes = joined.routes(&quota.quota, &namespaces, None);
                    let Some(first) = routes.first() else {
                        let reason = format!("no handler has a limit for {}: requests are not counted", quota.quota);
                        self.warn(object, code::QUOTA_WITHOUT_LIMIT, &field, reason);
                        continue;
                    };
                    let limit = first.limit.name.rsplit('/').next().unwrap_or_default();
                    if !same_quota(limit, &quota.quota, true) {
                        let reason =
                            format!("{} is taken for {limit}: Mixer does not take these for one name", quota.quota);
                        self.warn(object, code::QUOTA_COMPAT, &field, reason);
                    }
                }
            }
        }
    }
}
