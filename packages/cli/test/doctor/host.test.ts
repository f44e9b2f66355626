import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { install } from '@cni-offload/host/install'
import { createAuthority, issueCertificate } from '@cni-offload/protocol/pki'
import { systemClock } from '@cni-offload/sdk'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import type { CheckResult } from '../../src/doctor/check.ts'
import { hostChecks } from '../../src/doctor/host.ts'
import { diagnose, states } from './finding.ts'
import { serveHostDaemon } from './host-daemon-socket.ts'

const DAY_MS = 86_400_000
const LEASE = { vf: 'soft0/1', state: 'free', health: 'healthy' }
const VIEW = {
  node: 'n1',
  state: 'RUNNING',
  agent: { address: 'tcp://10.0.0.1:8000', connected: true },
  attachments: [],
  leases: [LEASE, { ...LEASE, vf: 'soft0/2' }],
  queue: [],
  dpu: { attachments: [] },
}

let dir: string
let view: unknown
let daemon: AsyncDisposable

const file = (): string => join(dir, 'host.yaml')
const config = (): Record<string, unknown> => ({
  node: 'n1',
  socket: 'host.sock',
  stateDir: 'state',
  agent: { address: 'tcp://10.0.0.1:8000', tls: { ca: 'n1/ca.crt', cert: 'n1/tls.crt', key: 'n1/tls.key' } },
  hardware: { plugin: 'any' },
})

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'doctor-'))
  view = VIEW
  await createAuthority({ dir: join(dir, 'ca') })
  await issueCertificate({ authority: join(dir, 'ca'), role: 'host', node: 'n1', out: join(dir, 'n1') })
  await mkdir(join(dir, 'state'))
  await writeFile(file(), stringify(config()))
  await writeFile(join(dir, 'shim'), '#!/bin/sh\n[ "$CNI_COMMAND" = VERSION ]\n')
  await install({
    shim: join(dir, 'shim'),
    network: 'podnet',
    binDir: join(dir, 'bin'),
    confDir: join(dir, 'net.d'),
    stateDir: join(dir, 'receipt'),
  })
  daemon = await serveHostDaemon(join(dir, 'host.sock'), () => view)
})

afterEach(async () => {
  await daemon[Symbol.asyncDispose]()
  await rm(dir, { recursive: true, force: true })
})

const look = async (clock = systemClock): Promise<Readonly<Record<string, CheckResult>>> =>
  await diagnose(await hostChecks({ config: file(), installState: join(dir, 'receipt'), clock }))

const finding = async (id: string): Promise<CheckResult | undefined> => (await look())[id]

describe('a host', { timeout: 120_000 }, () => {
  it('with all that it needs is in order', async () => {
    const results = await look()
    expect(states(results)).toEqual({
      'host.config': 'ok',
      'host.tls.ca': 'ok',
      'host.tls.cert': 'ok',
      'host.tls.key': 'ok',
      'host.state': 'ok',
      'host.daemon': 'ok',
      'host.agent': 'ok',
      'host.vfs': 'ok',
      'host.shim': 'ok',
      'host.conflist': 'ok',
    })
    expect(results['host.daemon']?.seen).toBe(`RUNNING on node n1, at ${join(dir, 'host.sock')}`)
    expect(results['host.vfs']?.seen).toBe('2 VFs, 2 free')
  })

  it('whose configuration is wrong is still looked at as far as can be', async () => {
    await writeFile(file(), stringify({ ...config(), node: '' }))
    const results = await look()
    expect(states(results)).toEqual({ 'host.config': 'fail', 'host.shim': 'ok', 'host.conflist': 'ok' })
    expect(results['host.config']?.why).toContain('node')
    await rm(file())
    expect(await finding('host.config')).toMatchObject({ state: 'fail', remedy: expect.stringContaining('--config') as string })
  })

  it.each([
    [-1, 'fail', 'clock'],
    [340, 'warn', 'offload pki issue'],
    [366, 'fail', 'offload pki issue'],
  ])('says of a certificate, %i days after it was issued: %s', async (days, state, remedy) => {
    const clock = { ...systemClock, now: () => Date.now() + days * DAY_MS }
    expect((await look(clock))['host.tls.cert']).toMatchObject({ state, remedy: expect.stringContaining(remedy) as string })
  })

  it('says whose certificate it has, and that its key cannot be read', async () => {
    await rm(join(dir, 'n1'), { recursive: true })
    await issueCertificate({ authority: join(dir, 'ca'), role: 'agent', node: 'n2', out: join(dir, 'n1') })
    await rm(join(dir, 'n1/tls.key'))
    const results = await look()
    expect(results['host.tls.cert']).toMatchObject({
      state: 'fail',
      seen: `${join(dir, 'n1/tls.crt')} of the agent of n2`,
      remedy: expect.stringContaining('--role host --node n1') as string,
    })
    expect(results['host.tls.key']).toMatchObject({ state: 'fail', why: expect.stringContaining('ENOENT') as string })
  })

  it('has a state folder that is not there yet, or cannot be written', async () => {
    await rm(join(dir, 'state'), { recursive: true })
    expect(await finding('host.state')).toMatchObject({ state: 'ok', seen: `${join(dir, 'state')} is not there yet, ${dir} is` })
    await writeFile(join(dir, 'state'), 'a file')
    expect(await finding('host.state')).toMatchObject({ state: 'fail', remedy: expect.stringContaining('stateDir') as string })
  })

  it('has a daemon that does not answer, is of another node or not running', async () => {
    view = { ...VIEW, state: 'DRAINING' }
    expect(await finding('host.daemon')).toMatchObject({ state: 'fail', seen: expect.stringContaining('DRAINING') as string })
    view = { ...VIEW, node: 'n2' }
    expect(await finding('host.daemon')).toMatchObject({ state: 'fail', why: 'the configuration says node n1' })
    await daemon[Symbol.asyncDispose]()
    const results = await look()
    expect(results['host.daemon']).toMatchObject({ state: 'fail', why: expect.stringContaining('no host daemon answers') as string })
    expect(results['host.agent']).toMatchObject({ state: 'skipped', why: 'host.daemon has to be in order first' })
    daemon = await serveHostDaemon(join(dir, 'host.sock'), () => view)
  })

  it('has an agent that does not answer, and VFs that are few or sick', async () => {
    view = { ...VIEW, dpu: { error: 'connection refused' }, leases: [] }
    expect(await look()).toMatchObject({
      'host.agent': { state: 'fail', why: 'connection refused', remedy: expect.stringContaining('offload-agent') as string },
      'host.vfs': { state: 'fail', seen: '0 VFs, 0 free' },
    })
    view = { ...VIEW, leases: [{ ...LEASE, state: 'leased' }] }
    expect(await finding('host.vfs')).toMatchObject({ state: 'warn', seen: '1 VFs, 0 free' })
    view = { ...VIEW, leases: [LEASE, { ...LEASE, vf: 'soft0/2', health: 'gone' }] }
    expect(await finding('host.vfs')).toMatchObject({ state: 'warn', why: 'not healthy: soft0/2 (gone)' })
  })

  const shim = (): string => join(dir, 'bin/offload-cni')
  const conflist = (): string => join(dir, 'net.d/05-cni-offload.conflist')
  it.each<[string, string, () => Promise<void>, string]>([
    ['host.shim', 'is gone', async () => await rm(shim()), 'offload install'],
    ['host.shim', 'is not executable', async () => await chmod(shim(), 0o644), 'offload install'],
    ['host.shim', 'exits with 3', async () => await writeFile(shim(), '#!/bin/sh\nexit 3\n'), 'offload install'],
    ['host.shim', 'is another file', async () => await writeFile(shim(), '#!/bin/sh\n'), 'offload install'],
    ['host.shim', 'no receipt in', async () => await rm(join(dir, 'receipt'), { recursive: true }), '--install-state'],
    ['host.conflist', 'is gone', async () => await rm(conflist()), 'offload install'],
    ['host.conflist', 'is another file', async () => await writeFile(conflist(), '{}'), '--chain'],
    ['host.conflist', '00-other.conf comes before', async () => await writeFile(join(dir, 'net.d/00-other.conf'), '{}'), '--name'],
    ['host.conflist', 'no receipt in', async () => await rm(join(dir, 'receipt'), { recursive: true }), '--install-state'],
  ])('has an installation of which %s %s', async (id, seen, damage, remedy) => {
    await damage()
    expect(await finding(id)).toMatchObject({
      state: 'fail',
      seen: expect.stringContaining(seen) as string,
      remedy: expect.stringContaining(remedy) as string,
    })
  })
})
