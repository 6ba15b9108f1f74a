//! rsyslogd with a configuration of its own, which writes what it gets into a file.

use std::fs;
use std::process::{Command, Stdio};

use super::{Authority, Running, daemon, wait_for};

/// See the module.
#[derive(Debug)]
pub struct Rsyslogd {
    /// Its certificate is called `server`. In its folder is what it writes, too.
    pub authority: Authority,
    /// Ends before its folder goes.
    _process: Running,
}

impl Rsyslogd {
    /// Input over TCP.
    pub const TCP: &str =
        r#"module(load="imtcp") input(type="imtcp" port="0" listenPortFileName="FOLDER/port")"#;
    /// Input over TLS, from those who have a certificate of the same authority.
    pub const TLS: &str = r#"
        module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
        input(type="imtcp" port="0" listenPortFileName="FOLDER/port")"#;
    /// Input from the socket `log` in its folder.
    pub const SOCKET: &str =
        r#"module(load="imuxsock" SysSock.Use="off") input(type="imuxsock" Socket="FOLDER/log")"#;

    /// Starts it with this input. None: there is none, and the test is left out where that is allowed.
    #[must_use]
    pub fn start(input: &str) -> Option<Self> {
        let program = daemon("rsyslogd")?;
        let authority = Authority::new();
        authority.sign("server");
        let at = authority.folder().display().to_string();
        let configuration = format!(
            r#"global(workDirectory="{at}" DefaultNetstreamDriverCAFile="{at}/ca.pem"
                DefaultNetstreamDriverCertFile="{at}/server.pem" DefaultNetstreamDriverKeyFile="{at}/server.key")
            template(name="all" type="string"
                string="%syslogfacility-text%.%syslogseverity-text%|%app-name%|%hostname%|%timereported:::date-rfc3339%|%structured-data%|%msg%\n")
            {}
            action(type="omfile" file="{at}/got" template="all")
            "#,
            input.replace("FOLDER", &at)
        );
        let file = authority.path("rsyslog.conf");
        fs::write(&file, configuration).unwrap();
        let process = Command::new(program)
            .args(["-n", "-i", "NONE", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self {
            authority,
            _process: Running(process),
        })
    }

    /// Where it listens, at localhost.
    #[must_use]
    pub fn port(&self) -> u16 {
        wait_for("rsyslogd's port", || {
            let port = fs::read_to_string(self.authority.path("port")).ok()?;
            port.trim().parse().ok()
        })
    }

    /// What it got: `facility.severity|program|host|time|structured data|message`.
    #[must_use]
    pub fn got(&self) -> Vec<String> {
        let text = fs::read_to_string(self.authority.path("got")).unwrap_or_default();
        // the last line may not be whole yet
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }
}
