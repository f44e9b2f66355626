#!/usr/bin/env node
// Prints what the control agent prints, and ends as it ends. How, says the file `mode` beside its configuration.
import { existsSync, readFileSync } from 'node:fs'
const [cfg] = process.argv.slice(2)
const folder = cfg.slice(0, cfg.lastIndexOf('/'))
const mode = existsSync(`${folder}/mode`) ? readFileSync(`${folder}/mode`, 'utf8').trim() : 'ok'
const app = (line) => process.stdout.write(`${line}\n`)
const lib = (line) => process.stderr.write(`${line}\n`)
app(`APP: config init : ${cfg}`)
const end = (code) => process.exit(code)
if (mode === 'badcfg') {
  app(`APP: ${cfg}:3 - syntax error`)
  end(234)
}
lib('LIB: init')
lib('SOC: Model: cn10ka_a0')
if (mode === 'vfio') {
  lib('CNXK: failed to open PEM VFIO group at /dev/vfio/32')
  end(237)
}
if (mode === 'hostdown') {
  lib('CNXK: pem[0] unavailable')
  end(245)
}
process.on('SIGINT', () => {
  if (mode === 'stubborn') return
  app('APP: Program quitting.')
  lib('CNXK: pem[0] pf[0] fw ready 0 addr 0xfffe44c18418')
  end(0)
})
// Its loop: it sleeps in each turn, as who watches it sees.
setInterval(() => {}, 1)
app('APP: Heartbeat interval : 1000 msecs')
// The host is reset, and the link does not come back.
process.on('SIGUSR2', () => {
  app('APP: Event: perst on dom[0]')
  lib('CNXK: pem[0] pf[0] fw ready 0 addr 0x0')
  app('APP: Reinitiazing PEM 0')
  app('APP: Unable to handle perst event on PEM 0!')
})
lib('CNXK: pem[0] pf[0] fw ready 1 addr 0xfffe44c18418')
