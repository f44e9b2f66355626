import { describe, expect, it } from 'vitest'
import { agentUnit } from '../../src/index.ts'

const line = (unit: string, key: string): string | undefined => unit.split('\n').find((text) => text.startsWith(`${key}=`))

describe('agentUnit', () => {
  it('is a unit that stops by SIGINT and starts again, except where only a person can help', () => {
    expect(
      agentUnit({
        argv: ['/usr/bin/octep_cp_agent', '/run/c.cfg', '--', '--pem_dev', '0001:00:10.0'],
        module: 'vfio-pci',
        prepare: ['/bin/prep'],
      }),
    ).toBe(`# Made by: offload octeon unit
[Unit]
Description=Control agent of the OCTEON's packet interface
After=systemd-modules-load.service dev-hugepages.mount local-fs.target
Before=kubelet.service
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStartPre=-/sbin/modprobe vfio-pci
ExecStartPre=/bin/prep
ExecStart=/usr/bin/octep_cp_agent /run/c.cfg -- --pem_dev 0001:00:10.0
KillSignal=SIGINT
TimeoutStopSec=5
Restart=always
RestartSec=2
SuccessExitStatus=0
RestartPreventExitStatus=137 234 255
LimitMEMLOCK=infinity

[Install]
WantedBy=multi-user.target
`)
  })

  it.each([
    ['/a b', '"/a b"'],
    ['/a%i', '/a%%i'],
    ['/a$HOME', '/a$$HOME'],
    ['/a"b\\', '"/a\\"b\\\\"'],
    ['', '""'],
    [';', '";"'],
  ])('writes the argument %j so that systemd reads it as it is', (argument, written) => {
    expect(line(agentUnit({ argv: ['/bin/agent', argument] }), 'ExecStart')).toBe(`ExecStart=/bin/agent ${written}`)
  })

  it('refuses what no unit can hold', () => {
    expect(() => agentUnit({ argv: ['/bin/agent', 'a\nExecStart=/bin/sh'] })).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG' }))
  })
})
