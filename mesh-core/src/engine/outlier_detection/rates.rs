//! Which hosts stand out by the share of their failures. Functions of numbers only.

/// The mean of the hosts' success rates and the rate below which a host stands out.
///
/// `factor` is in thousandths of a standard deviation (of the population).
pub(super) fn success_rates(rates: &[f64], factor: u32) -> Option<(f64, f64)> {
    if rates.is_empty() {
        return None;
    }
    #[allow(clippy::cast_precision_loss, reason = "a number of hosts")]
    let count = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
    Some((mean, mean - f64::from(factor) / 1000.0 * variance.sqrt()))
}

/// Whether a host with this success rate fails too often.
pub(super) fn fails_too_often(rate: f64, threshold: u32) -> bool {
    100.0 - rate >= f64::from(threshold)
}
