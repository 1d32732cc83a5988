//! Guessing what a misspelt name was meant to be.

use jiff::tz::TimeZoneDatabase;

/// How many single edits (insert, remove, replace, swap) turn one word into the other.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut older: Vec<usize> = Vec::new();
    let mut old: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut new = vec![i];
        for j in 1..=b.len() {
            let replaced = old[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(old[j] + 1).min(new[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(older[j - 2] + 1);
            }
            new.push(best);
        }
        older = std::mem::replace(&mut old, new);
    }
    old[b.len()]
}

/// The candidate that is nearest to the word, where one is near at all.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    let reach = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, _)| distance <= reach)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Why this is no zone, and which one was probably meant.
pub(crate) fn unknown_zone(name: &str, zones: &TimeZoneDatabase) -> String {
    let rule = "a zone is an IANA name, spelt exactly, such as \"Europe/London\" or \"UTC\"";
    if name.is_empty() {
        return format!("the name is empty; {rule}");
    }
    // Quadratic in the length: no name is this long.
    if name.len() > 64 {
        return format!("no such time zone; {rule}");
    }
    if name.starts_with(['+', '-']) && name[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return format!("\"{name}\" is an offset, which knows no daylight saving; {rule}");
    }
    let known: Vec<String> = zones.available().map(|known| known.to_string()).collect();
    let tail = |zone: &str| zone.rsplit('/').next().map(str::to_lowercase);
    let wanted = name.trim().replace(' ', "_");
    let guess = abbreviation(name)
        .filter(|guess| known.iter().any(|known| known == guess))
        .or_else(|| nearest(&wanted, known.iter().map(String::as_str)))
        .or_else(|| {
            let city = known
                .iter()
                .find(|known| tail(known) == Some(wanted.to_lowercase()));
            city.map(String::as_str)
        });
    match guess {
        Some(guess) => format!("no time zone \"{name}\"; did you mean \"{guess}\"? {rule}"),
        None => format!("no time zone \"{name}\"; {rule}"),
    }
}

fn abbreviation(name: &str) -> Option<&'static str> {
    Some(match name {
        "PST" | "PDT" | "PT" => "America/Los_Angeles",
        "MDT" | "MT" => "America/Denver",
        "CST" | "CDT" | "CT" => "America/Chicago",
        "EDT" | "ET" => "America/New_York",
        "BST" => "Europe/London",
        "CEST" => "Europe/Berlin",
        "EEST" => "Europe/Helsinki",
        "IST" => "Asia/Kolkata",
        "JST" => "Asia/Tokyo",
        "AEST" | "AEDT" => "Australia/Sydney",
        "Z" | "utc" | "GMT+0" => "UTC",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("form", "from"), 1);
        assert_eq!(nearest("minuet", ["minute", "month"]), Some("minute"));
        assert_eq!(nearest("colour", ["minute", "month"]), None);
    }

    #[test]
    fn zones() {
        let zones = TimeZoneDatabase::bundled();
        for (name, guess) in [
            ("Europe/Londonn", "Europe/London"),
            ("europe/london", "Europe/London"),
            ("London", "Europe/London"),
            ("America/New York", "America/New_York"),
            ("PDT", "America/Los_Angeles"),
            (" UTC", "UTC"),
        ] {
            assert!(
                unknown_zone(name, &zones).contains(&format!("\"{guess}\"?")),
                "{name}"
            );
        }
        assert!(unknown_zone("+02:00", &zones).contains("offset"));
    }
}
