"""Logs in to the services of a host with Python's libraries, and prints a line about each service."""

import ftplib
import imaplib
import poplib
import smtplib
import sys

HOST = sys.argv[1]
TIMEOUT = 120


def refused(action, *arguments):
    """Returns the name of the exception that the call raises, and its arguments."""
    try:
        return f"accepted: {action(*arguments)}"
    except (smtplib.SMTPException, *ftplib.all_errors, poplib.error_proto, imaplib.IMAP4.error) as error:
        return " ".join([type(error).__name__, *map(str, error.args)])


for port in (25, 587):
    smtp = smtplib.SMTP(HOST, port, timeout=TIMEOUT)
    codes = [smtp.ehlo("client.example")[0], smtp.helo("client.example")[0]]
    print("smtp", *codes, smtp.has_extn("8bitmime"), smtp.quit()[0])
    smtp = smtplib.SMTP(HOST, port, timeout=TIMEOUT)
    print("smtp", refused(smtp.sendmail, "from@client.example", "to@client.example", "text"))

pop3 = poplib.POP3(HOST, timeout=TIMEOUT)
print("pop3", pop3.getwelcome().decode(), "USER" in pop3.capa(), pop3.user("root").decode())
print("pop3", refused(pop3.pass_, "secret"), pop3.quit().decode())

print("imap", refused(imaplib.IMAP4, HOST, 143, TIMEOUT))

ftp = ftplib.FTP(HOST, timeout=TIMEOUT)
print("ftp", ftp.getwelcome(), "|", refused(ftp.login, "root", "secret"), "|", ftp.quit())
