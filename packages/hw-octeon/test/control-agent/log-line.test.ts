import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type AgentLine, FAULT_HINTS, parseAgentLine } from '../../src/index.ts'

describe('parseAgentLine', () => {
  it.each<[string, AgentLine]>([
    ['CNXK: pem[0] pf[0] fw ready 1 addr 0xfffe44c18418', { kind: 'fw-ready', pem: 0, pf: 0, ready: true }],
    ['CNXK: pem[2] pf[13] fw ready 0 addr 0x0', { kind: 'fw-ready', pem: 2, pf: 13, ready: false }],
    ['LIB: Got PERST', { kind: 'host-reset', pem: undefined }],
    ['APP: Event: perst on dom[0]', { kind: 'host-reset', pem: 0 }],
    ['APP: Reinitiazing PEM 0', { kind: 'reinit', pem: 0 }],
    ['APP: Unable to handle perst event on PEM 0!', { kind: 'reset-failed', pem: 0 }],
    ['APP: Program quitting.', { kind: 'quitting' }],
    ['SOC: Model: cn10ka_a0', { kind: 'soc', model: 'cn10ka_a0' }],
    ['APP: Heartbeat interval : 1000 msecs', { kind: 'heartbeat', intervalMs: 1000 }],
    ['APP: /a b/c.cfg:12 - syntax error', { kind: 'config-error', file: '/a b/c.cfg', line: 12, text: 'syntax error' }],
    ['APP: cn106xx.cfg:0 - file I/O error', { kind: 'config-error', file: 'cn106xx.cfg', line: 0, text: 'file I/O error' }],
    ['APP: Skipping out of bounds pem[0]pf[128]', { kind: 'skipped', what: 'pem[0]pf[128]' }],
    ['APP: Cmd: set mac : 02:00:00:00:00:01', { kind: 'command', command: 'set mac : 02:00:00:00:00:01' }],
    ['Cmd: device remove', { kind: 'command', command: 'device remove' }],
    ['CNXK: VFIO Group is not viable', { kind: 'fault', fault: 'vfio-group-not-viable' }],
    ['CNXK: failed to open PEM VFIO group at /dev/vfio/32', { kind: 'fault', fault: 'vfio-open' }],
    ['CNXK: Failed to map mailbox memory', { kind: 'fault', fault: 'mailbox-memory' }],
    ['CNXK: Failed to find IOMMU group', { kind: 'fault', fault: 'iommu-group' }],
    ['CNXK: Invalid DPI device BDF', { kind: 'fault', fault: 'address' }],
    [
      'CNXK: Unable to parse SDP RVU PF BDFs from 0002:19:00.0. Requires at least 2 comma separated BDFs',
      { kind: 'fault', fault: 'address' },
    ],
    ['CNXK: Failed to set IOMMU model', { kind: 'fault', fault: 'iommu-model' }],
    ['CNXK: DPI init failed', { kind: 'fault', fault: 'dpi-init' }],
    ['CNXK: SDP RVU PF init failed', { kind: 'fault', fault: 'sdp-init' }],
    ['CNXK: pem[0] unavailable', { kind: 'fault', fault: 'pem-unavailable' }],
    ['CNXK: Invalid option.', { kind: 'fault', fault: 'option' }],
    ['APP: config init : /run/c.cfg', { kind: 'other' }],
    ['APP: cpu yield time (-y) = 0s 1000000ns', { kind: 'other' }],
    ['CNXK: PEM: device = 0001:00:10.0; IOMMU group = 32', { kind: 'other' }],
    ['CNXK: pem[0] pf[0] control plane versions 10000:10000', { kind: 'other' }],
    ['CNXK: pem[0] pf[0] fw ready 10', { kind: 'other' }],
  ])('reads %s', (line, expected) => {
    expect(parseAgentLine(line)).toEqual(expected)
  })

  it('reads whatever it is given', () => {
    fc.assert(fc.property(fc.string(), (line) => typeof parseAgentLine(line).kind === 'string'))
  })

  it('has a remedy for every fault', () => {
    for (const hint of Object.values(FAULT_HINTS)) expect(hint).not.toBe('')
  })
})
