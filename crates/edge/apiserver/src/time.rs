//! The two forms of time that clients see: RFC 3339 in UTC with whole seconds, and ages.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 by the system's clock.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// `2026-11-04T12:00:00Z`, for seconds since 1970.
pub(crate) fn format(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Seconds since 1970, of a time as [`format`] writes it. Fractions are dropped; other zones are not read.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let time = time.split('.').next()?;
    let numbers = |text: &str, separator| -> Option<[i64; 3]> {
        let mut parts = text
            .split(separator)
            .map(|part| part.parse::<i64>().ok().filter(|n| (0..10_000).contains(n)));
        Some([parts.next()??, parts.next()??, parts.next()??])
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time, ':')?);
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// An age as `kubectl` writes it: two units while it is young, one later (`duration.HumanDuration`).
pub(crate) fn age(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: i64, unit: char, small: i64, small_unit: char| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

/// Days since 1970 of a date of the Gregorian calendar, counted in years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days`].
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        assert_eq!(format(0), "1970-01-01T00:00:00Z");
        assert_eq!(format(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(format(1_793_793_600), "2026-11-04T12:00:00Z");
        assert_eq!(parse("2026-11-04T12:00:00.123Z"), Some(1_793_793_600));
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn parse_undoes_format() {
        for day in -1_000..40_000 {
            let seconds = day * 86_400 + 4_711;
            assert_eq!(parse(&format(seconds)), Some(seconds));
        }
    }

    #[test]
    fn ages_as_kubectl_writes_them() {
        let written: Vec<String> = [
            5, 119, 125, 600, 10_800, 11_000, 90_000, 200_000, 700_000, 70_000_000,
        ]
        .into_iter()
        .map(age)
        .collect();
        assert_eq!(
            written,
            [
                "5s", "119s", "2m5s", "10m", "3h", "3h3m", "25h", "2d7h", "8d", "2y80d"
            ]
        );
    }
}
