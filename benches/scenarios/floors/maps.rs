//! The time of a map look-up.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use crate::Outcome;
use crate::load::float;

const IDS: usize = 55_000;
const LOOK_UPS: usize = 1_000_000;

/// Microseconds to find an id, given as text, among as many ids as in `pathway_choice`.
///
/// # Errors
/// None; the type is that of all floors.
pub fn look_up_microseconds() -> Outcome<f64> {
    let places: HashMap<String, usize> = (0..IDS).map(|id| (id.to_string(), id)).collect();
    let ids: Vec<String> = (0..IDS).map(|number| (number * 7_919 % IDS).to_string()).collect();
    let begun = Instant::now();
    for id in ids.iter().cycle().take(LOOK_UPS) {
        black_box(places.get(black_box(id.as_str())));
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / float(LOOK_UPS))
}
