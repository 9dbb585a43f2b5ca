"""What tests of the program sim-modem share: a scripted card that dials in, TEs on every kind of port."""
import os
import select
import socket
import struct
import threading
import time

import tbtest

FINALS = (b"\r\nOK\r\n", b"\r\nERROR\r\n", b"\r\nNO CARRIER\r\n")

USIM = {
    "00A4000C022FE2": "9000",
    "00B000000A": "980010325476981032549000",
    "00A4000C026F07": "9000",
    "00B0000009": "0809101010325476989000",
    "00A4000C026FAD": "9000",
    "00B0000004": "000000029000",
    "0070000001": "019000",
}


class Card:
    """A card on the vpcd socket, in a thread. answers: command hex → response hex; else 9000 for SELECT, 6D00.

    hold(): from then on the card keeps its answers back; release() sends them. log: commands in hex."""

    def __init__(self, address, answers=None, atr="3B00"):
        self.answers = dict(USIM, **(answers or {}))
        self.atr = bytes.fromhex(atr)
        self.in_pieces = False
        self.log = []
        self.came = threading.Condition()
        self.held = None
        self.socket = tbtest.connect(address)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        stream = self.socket.makefile("rb")
        try:
            while True:
                head = stream.read(2)
                if len(head) < 2:
                    return
                body = stream.read(struct.unpack(">H", head)[0])
                if body == b"\4":
                    self._send(self.atr)
                elif len(body) > 1:
                    self._command(body.hex().upper())
        except OSError:
            pass

    def _command(self, command):
        with self.came:
            self.log.append(command)
            if self.held is not None:
                self.held.append(command)
            self.came.notify_all()
            if self.held is None:
                self._send(self._answer(command))

    def _answer(self, command):
        answer = self.answers.get(command)
        if answer is None:
            answer = "9000" if command[2:4] in ("A4", "70", "10", "F2") else "6D00"
        return bytes.fromhex(answer)

    def _send(self, data):
        try:
            if self.in_pieces:
                self.socket.sendall(struct.pack(">H", len(data)))
                self.socket.sendall(data)
            else:
                self.socket.sendall(struct.pack(">H", len(data)) + data)
        except OSError:
            pass

    def hold(self):
        with self.came:
            self.held = []

    def release(self):
        with self.came:
            commands, self.held = self.held, None
            for command in commands:
                self._send(self._answer(command))

    def wait_for(self, command):
        """Until the card has got that command."""
        with self.came:
            if not self.came.wait_for(lambda: command in self.log, tbtest.WAIT):
                raise AssertionError("the card never got %s, but %r" % (command, self.log))

    def forget(self):
        with self.came:
            self.log.clear()

    def remove(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(tbtest.WAIT)
        self.socket.close()


class Te:
    """A terminal: a TCP or Unix connection, or an opened pty. Knows no more of AT than where an answer ends."""

    def __init__(self, where):
        self.socket = None
        if where.startswith("unix:") or ":" in where:
            self.socket = tbtest.connect(where)
            self.fd = self.socket.fileno()
        else:
            self.fd = os.open(where, os.O_RDWR | os.O_NOCTTY)
        self.buffer = b""

    def send(self, text):
        data = text if isinstance(text, bytes) else text.encode("latin1")
        while data:
            data = data[os.write(self.fd, data):]

    def _more(self, deadline):
        left = max(0, deadline - time.monotonic())
        if not select.select([self.fd], [], [], left)[0]:
            raise TimeoutError("no more than %r" % self.buffer)
        piece = os.read(self.fd, 65536)
        if not piece:
            raise ConnectionError("closed after %r" % self.buffer)
        self.buffer += piece

    def until(self, text, timeout=tbtest.WAIT):
        """What was read, up to and including text."""
        text = text if isinstance(text, bytes) else text.encode("latin1")
        deadline = time.monotonic() + timeout
        while text not in self.buffer:
            self._more(deadline)
        end = self.buffer.index(text) + len(text)
        out, self.buffer = self.buffer[:end], self.buffer[end:]
        return out.decode("latin1")

    def final(self, timeout=tbtest.WAIT):
        """Up to the next final result code."""
        deadline = time.monotonic() + timeout
        while True:
            ends = [self.buffer.index(f) + len(f) for f in FINALS if f in self.buffer]
            for code in (b"\r\n+CME ERROR:", b"\r\n+CMS ERROR:"):
                at = self.buffer.find(code)
                end = self.buffer.find(b"\r\n", at + 2) if at >= 0 else -1
                if end >= 0:
                    ends.append(end + 2)
            if ends:
                out, self.buffer = self.buffer[:min(ends)], self.buffer[min(ends):]
                return out.decode("latin1")
            self._more(deadline)

    def at(self, line):
        """Sends "AT" + line; the whole answer."""
        self.send("AT%s\r" % line)
        return self.final()

    def csim(self, apdu):
        """(data, sw) as hex, by +CSIM as it is."""
        answer = self.at('+CSIM=%d,"%s"' % (len(apdu), apdu))
        if '"' not in answer:
            raise AssertionError("%s: %r" % (apdu, answer))
        rsp = answer.split('"')[-2]
        return rsp[:-4], rsp[-4:]

    def quiet(self):
        """True when nothing more has come; ask after something that was sent later was answered."""
        return not self.buffer and not select.select([self.fd], [], [], 0)[0]

    def close(self):
        if self.socket:
            self.socket.close()
        elif self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class ModemCase(tbtest.Case):
    """A test with a modem: self.modem(...) starts it, self.card(...) puts a card in, self.te(...) opens a port."""

    def modem(self, *args):
        self.m = self.start("sim-modem", "--at-pty", self.path("tty"), "--at-tcp", "127.0.0.1:0", "--at-unix",
                            self.path("at.sock"), "--ctl", self.socket("ctl"), "--log-level", "debug", *args)
        self.ctl = self.m.ctl().subscribe()
        self.addCleanup(self.ctl.close)
        return self.m

    def card(self, answers=None, atr="3B00", booted=True):
        card = Card(self.m.ready["vpcd"], answers, atr)
        self.addCleanup(card.remove)
        if booted:
            self.ctl.expect("card-inserted")
            card.forget()
        return card

    def te(self, kind="unix", echo=False):
        te = Te(self.m.ready["at"][kind])
        self.addCleanup(te.close)
        if not echo:
            te.at("E0")
        return te
