import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '@cni-offload/sdk'
import { FakeOcteonCard } from '@cni-offload/testing/octeon'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { dpuChecks } from '../../src/doctor/dpu.ts'
import { hostChecks } from '../../src/doctor/host.ts'
import { hardwareChecks } from '../../src/doctor/octeon.ts'
import { reportText } from '../../src/doctor/report.ts'
import { runChecks } from '../../src/doctor/run.ts'
import { diagnose } from './finding.ts'

const PLUGIN = '@cni-offload/hw-octeon'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'doctor-'))
})
afterEach(async () => {
  await rm(dir, { recursive: true, force: true })
})

describe('the hardware of a node', { timeout: 120_000 }, () => {
  it('is looked at where it is configured, as it is expected there', async () => {
    await using card = await FakeOcteonCard.create({ vfs: 4 })
    const { host: machine } = card
    const look = async (options: Readonly<Record<string, unknown>>): ReturnType<typeof diagnose> =>
      await diagnose(hardwareChecks('host', { plugin: PLUGIN, options }, { machine }))
    expect((await look({ vfs: 4 }))['octeon.host.vfs']).toMatchObject({ state: 'ok', seen: '4 VFs, 4 wanted, the card has rings for 4' })
    expect((await look({ vfs: 5 }))['octeon.host.vfs']).toMatchObject({ state: 'fail' })
    expect((await look({ vfs: 'many', pf: '0000:09:00.0' }))['octeon.host.function']).toMatchObject({
      state: 'fail',
      remedy: 'This machine has 0000:01:00.0.',
    })
  })

  it('is none of ours where another backend is configured', () => {
    expect(hardwareChecks('host', { plugin: '@cni-offload/hw-soft' }, {})).toEqual([])
    expect(hardwareChecks('host', undefined, {})).toEqual([])
    expect(hardwareChecks('dpu', { plugin: '@cni-offload/hw-soft' }, { hardware: 'octeon' })).not.toEqual([])
    expect(hardwareChecks('dpu', { plugin: '/opt/hw-octeon/dist/index.js' }, {})).not.toEqual([])
  })

  it('asks the other end of the management link', async () => {
    await using card = await FakeOcteonCard.create()
    const { host: machine } = card
    let asked: string | undefined
    machine.install('ping', (args) => {
      asked = args.at(-1)
      return Promise.resolve({ exitCode: 0, exitSignal: null, stdout: '3 packets transmitted, 3 received', stderr: '' })
    })
    const peerOf = async (managementAddress?: string, managementPeer?: string): Promise<string | undefined> => {
      asked = undefined
      const checks = hardwareChecks('host', { plugin: PLUGIN, options: { managementAddress } }, { machine, managementPeer })
      await checks.find(({ id }) => id === 'octeon.host.management')?.run(AbortSignal.timeout(60_000))
      return asked
    }
    expect(await peerOf('192.168.1.2/24')).toBe('192.168.1.1')
    expect(await peerOf('fe80::1/64')).toBe('fe80::2')
    expect(await peerOf('10.0.0.77/24')).toBeUndefined()
    expect(await peerOf('10.0.0.77/24', '10.0.0.78')).toBe('10.0.0.78')
    expect(await peerOf()).toBeUndefined()
  })

  it('of a DPU is looked at by what its options say', async () => {
    await using card = await FakeOcteonCard.create({ firmware: '12.25.01' })
    const { dpu: machine } = card
    const look = async (options: Readonly<Record<string, unknown>>, stateDir?: string): ReturnType<typeof diagnose> =>
      await diagnose(hardwareChecks('dpu', { plugin: PLUGIN, options }, { machine, stateDir }))
    const wanted = { sdk: '12.25.03', cfg: '/etc/none.cfg', setup: { node: 'n', managementAddress: '192.168.9.1/24' } }
    const found = await look({ controlAgent: wanted }, '/var/lib/x')
    expect(found).toMatchObject({
      'octeon.dpu.agent-release': { state: 'fail', why: expect.stringContaining('SDK 12.25.03') },
      'octeon.dpu.agent-config': { state: 'fail', seen: '/etc/none.cfg' },
      'octeon.dpu.agent-supervisor': { state: 'fail', seen: 'no /var/lib/x/octep_cp_agent.json' },
    })
    expect(found).not.toHaveProperty('octeon.dpu.agent-log')
    const one = async (id: string, controlAgent: object): Promise<unknown> =>
      await hardwareChecks('dpu', { plugin: PLUGIN, options: { controlAgent } }, { machine })
        .find((check) => check.id === id)
        ?.run(AbortSignal.timeout(60_000))
    let asked: readonly string[] = []
    const answers = (exitCode: number, stdout: string) => (args: readonly string[]) => {
      asked = args
      return Promise.resolve({ exitCode, exitSignal: null, stdout, stderr: '' })
    }
    machine.install('journalctl', answers(0, 'LIB: init\n'))
    // The other end of the link is asked, which needs one.
    expect(await one('octeon.dpu.management', wanted)).toMatchObject({ seen: 'enP2p1s0v0 is down' })
    expect(await one('octeon.dpu.management', {})).toBeUndefined()
    using _agent = card.startAgent({ pid: 2_000_000_001, argv: ['octep_cp_agent', '/c.cfg'], startTicks: 1 })
    expect(await one('octeon.dpu.agent-log', { run: 'external', unit: 'cp.service' })).toMatchObject({
      state: 'fail',
      seen: 'journal of cp.service',
    })
    expect(asked).toContain('--unit=cp.service')
    // What is wrong with them is said by the check of the configuration.
    expect((await look({ controlAgent: { sdk: 'latest' } }))['octeon.dpu.agent-release']).toMatchObject({ state: 'ok' })
  })

  it('is looked at without a configuration where somebody says what it is, on either side', async () => {
    await using card = await FakeOcteonCard.create()
    const options = { config: join(dir, 'none.yaml'), configOptional: true, clock: systemClock, hardware: 'octeon' as const }
    expect(await diagnose(await hostChecks({ ...options, machine: card.host, installState: dir }))).toMatchObject({
      'host.config': { state: 'skipped' },
      'octeon.host.driver': { state: 'ok' },
    })
    expect(await diagnose(await dpuChecks({ ...options, machine: card.dpu }))).toMatchObject({
      'agent.config': { state: 'skipped' },
      'octeon.dpu.ports': { state: 'ok' },
    })
  })

  it('is looked at with a configuration that cannot be used', async () => {
    await using card = await FakeOcteonCard.create()
    await writeFile(join(dir, 'agent.yaml'), stringify({ node: 1 }))
    const checks = await dpuChecks({ config: join(dir, 'agent.yaml'), clock: systemClock, hardware: 'octeon', machine: card.dpu })
    expect(await diagnose(checks)).toMatchObject({ 'agent.config': { state: 'fail' }, 'octeon.dpu.ports': { state: 'ok' } })
  })

  it('that is missing is told once, not by each check', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh' })
    const results = await runChecks(hardwareChecks('host', undefined, { hardware: 'octeon', machine: card.dpu }), {
      signal: AbortSignal.timeout(60_000),
      timeoutMs: 60_000,
    })
    const text = reportText(results)
    expect(text).toContain('→ Run it with --side dpu.')
    expect(text.split('\n').filter((line) => line.includes('octeon.host.'))).toHaveLength(1)
    expect(new Set(results.map(({ state }) => state))).toEqual(new Set(['fail', 'skipped']))
  })
})
