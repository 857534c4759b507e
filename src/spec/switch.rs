//! Boolean values such as `--rm=false` or `readonly=true`.

/// Parses docker's boolean words (Go's strconv.ParseBool).
pub fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("'{text}' is neither true nor false")),
    }
}
