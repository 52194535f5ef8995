//! Numbers as people write them: `64K`, `1 MiB`, `12.3 ns`, `2026-11-30`.
//!
//! Owns parsing and showing of byte counts, times and dates, and the reading of values that may be unknown; uses the
//! library's choice of one unit for several counts.
//! The options, the doctor, the reports and the engine use it.

use hugepool::Bytes;
use serde::{Deserialize, Deserializer};

/// Bytes in a KiB.
pub const KIB: usize = 1 << 10;
/// Bytes in a MiB.
pub const MIB: usize = 1 << 20;
/// Bytes in a GiB.
pub const GIB: usize = 1 << 30;

/// Reads a byte count: digits, then optionally `K`, `M` or `G` (powers of 1024), with or without `iB` or `B`.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_uppercase();
    let factor = match unit.as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => KIB,
        "M" | "MB" | "MIB" => MIB,
        "G" | "GB" | "GIB" => GIB,
        _ => return Err(format!("`{text}` is no size: write 4096, 64K, 1M or 1G")),
    };
    let number: usize = number
        .parse()
        .map_err(|_| format!("`{text}` is no size: write 4096, 64K, 1M or 1G"))?;
    number.checked_mul(factor).ok_or_else(|| {
        format!(
            "`{text}` is more than the {} bytes an address can reach",
            usize::MAX
        )
    })
}

/// As [`parse_bytes`], of a count that has bounds.
pub fn parse_between(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let bytes = parse_bytes(text)?;
    if (least..=most).contains(&bytes) {
        Ok(bytes)
    } else {
        let [bytes, least, most] = together([bytes, least, most]);
        Err(format!("{bytes} is not between {least} and {most}"))
    }
}

/// A byte count in the unit that keeps it short: exact where that takes few digits, else with two decimals.
pub fn bytes(count: usize) -> String {
    let units = [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    for (unit, name) in units {
        if count.is_multiple_of(unit) && (1..10_000).contains(&(count / unit)) {
            return format!("{} {name}", count / unit);
        }
    }
    for (unit, name) in units {
        if count >= 10 * unit {
            return format!("{:.2} {name}", count as f64 / unit as f64);
        }
    }
    format!("{count} B")
}

/// As [`bytes`], for the kernel's 64-bit numbers.
pub fn bytes64(count: u64) -> String {
    usize::try_from(count).map_or_else(|_| format!("{count} B"), bytes)
}

/// The byte counts of one message, all in one unit.
pub fn together<const N: usize>(counts: [usize; N]) -> [String; N] {
    Bytes::together(counts).map(|count| count.to_string())
}

/// As [`together`], for the kernel's 64-bit numbers.
pub fn together64<const N: usize>(counts: [u64; N]) -> [String; N] {
    together(counts.map(|count| usize::try_from(count).unwrap_or(usize::MAX)))
}

/// A compact form for tables and names: `64K`, `1M`, `4095`.
pub fn short(count: usize) -> String {
    for (unit, name) in [(GIB, "G"), (MIB, "M"), (KIB, "K")] {
        if count != 0 && count.is_multiple_of(unit) {
            return format!("{}{name}", count / unit);
        }
    }
    count.to_string()
}

/// Nanoseconds with about three digits and the unit that keeps them short.
pub fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "µs"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    if value.fract() == 0.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{} {unit}", digits(value))
    }
}

/// A number with about three digits.
pub fn digits(value: f64) -> String {
    match value.abs() {
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Takes `null`, but not a field that is missing.
pub fn present<'d, T, D>(input: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'d>,
    D: Deserializer<'d>,
{
    Option::deserialize(input)
}

/// `2026-11-30 12:34:56`, in UTC, of seconds since 1970.
pub fn date(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since the first of March of the year 0, in eras of 400 years; i128, for any i64.
    let days = i128::from(days) + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!(
        "{:04}-{month:02}-{of_month:02} {:02}:{:02}:{:02}",
        year + era * 400 + later,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_in_every_usual_form() {
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert_eq!(parse_bytes("64K"), Ok(65_536));
        assert_eq!(parse_bytes("64k"), Ok(65_536));
        assert_eq!(parse_bytes("1 MiB"), Ok(MIB));
        assert_eq!(parse_bytes("2GB"), Ok(2 * GIB));
        assert_eq!(parse_bytes("0"), Ok(0));
    }

    #[test]
    fn what_is_no_size_is_named_in_the_error() {
        for wrong in ["", "K", "-1", "1.5M", "64Q", "sixty", "1K1"] {
            let error = parse_bytes(wrong).expect_err(wrong);
            assert!(error.contains(&format!("`{wrong}`")), "{error}");
        }
        assert!(parse_bytes("18446744073709551615G").is_err());
        assert!(parse_bytes("99999999999999999999").is_err());
    }

    #[test]
    fn sizes_are_shown_exactly_where_that_is_short() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(64 * KIB), "64 KiB");
        assert_eq!(bytes(3 * GIB), "3 GiB");
        assert_eq!(bytes(24 * GIB + 1), "24.00 GiB");
        assert_eq!(bytes(24_684_096 * KIB), "23.54 GiB");
        assert_eq!(bytes(4095), "4095 B");
        assert_eq!(short(64 * KIB), "64K");
        assert_eq!(short(1000), "1000");
        assert_eq!(short(0), "0");
    }

    #[test]
    fn a_shown_size_reads_back_as_itself() {
        for count in [1, 512, 4096, 65_536, MIB, 7 * MIB, GIB] {
            assert_eq!(parse_bytes(&bytes(count)), Ok(count));
            assert_eq!(parse_bytes(&short(count)), Ok(count));
        }
    }

    #[test]
    fn times_keep_about_three_digits() {
        assert_eq!(time(5.4), "5.40 ns");
        assert_eq!(time(1459.0), "1.46 µs");
        assert_eq!(time(29_000.0), "29 µs");
        assert_eq!(time(30.0), "30 ns");
        assert_eq!(time(3.2e9), "3.20 s");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(date(1_796_041_799), "2026-11-30 12:29:59");
        assert_eq!(date(-1), "1969-12-31 23:59:59");
        // No time is too far.
        let _ = (date(i64::MAX), date(i64::MIN));
    }
}
