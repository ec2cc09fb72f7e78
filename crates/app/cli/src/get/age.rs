//! How long ago something was, as kubectl says it.

use std::time::{SystemTime, UNIX_EPOCH};

/// The age of an RFC 3339 time in UTC, as API servers write it: `5d3h`, `12m`; `<unknown>` for
/// anything else.
pub fn since(time: Option<&str>) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |x| x.as_secs());
    let begun = time.and_then(seconds);
    begun.map_or("<unknown>".into(), |begun| words(now.saturating_sub(begun)))
}

/// Seconds since 1970 of `2026-11-20T06:24:00Z`; fractions of a second are dropped.
fn seconds(time: &str) -> Option<u64> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<u64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let clock = clock.split_once('.').map_or(clock, |(clock, _)| clock);
    let mut clock = clock.splitn(3, ':').map(str::parse::<u64>);
    let (hour, minute, second) = (
        clock.next()?.ok()?,
        clock.next()?.ok()?,
        clock.next()?.ok()?,
    );
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years begin in March, so that the leap day is the last of a year (Hinnant, "chrono").
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let since_1970 = days - 719_468;
    Some(since_1970 * 86_400 + hour * 3600 + minute * 60 + second)
}

fn words(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=599 if !seconds.is_multiple_of(60) => format!("{minutes}m{}s", seconds % 60),
        120..=10_799 => format!("{minutes}m"),
        10_800..=28_799 if !minutes.is_multiple_of(60) => format!("{hours}h{}m", minutes % 60),
        10_800..=172_799 => format!("{hours}h"),
        172_800..=691_199 if !hours.is_multiple_of(24) => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_seconds() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-03-01T00:00:00Z"), Some(951_868_800));
        assert_eq!(seconds("2026-11-20T06:24:01.5Z"), Some(1_795_155_841));
        for bad in [
            "",
            "2026-11-20",
            "2026-13-01T00:00:00Z",
            "2026-11-20T06:24:01+01:00",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        let ages = [5, 119, 121, 600, 7200, 11_000, 30_000, 180_000, 1_000_000].map(words);
        assert_eq!(
            ages,
            [
                "5s", "119s", "2m1s", "10m", "120m", "3h3m", "8h", "2d2h", "11d"
            ]
        );
    }
}
