import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { createAuthority, issueCertificate } from '@cni-offload/protocol/pki'
import { OffloadError, systemClock } from '@cni-offload/sdk'
import { isRoot, ROOT_REASON, uniqueName } from '@cni-offload/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { dpuChecks } from '../../src/doctor/dpu.ts'
import { kernelChecks } from '../../src/doctor/general/kernel.ts'
import { diagnose } from './finding.ts'

const moduleOf = (name: string): string => fileURLToPath(import.meta.resolve(name))
const HARDWARE = { plugin: moduleOf('@cni-offload/hw-soft'), export: 'softDpu', options: { device: 'soft0', vfs: 2 } }

let dir: string
let agent: Server
const file = (): string => join(dir, 'agent.yaml')
const delegate = (): object => ({
  network: 'podnet',
  plugin: moduleOf('@cni-offload/adapter-delegate'),
  export: 'delegate',
  options: { conflist: { cniVersion: '1.0.0', plugins: [{ type: 'one' }, { type: 'two' }] }, cniPath: [join(dir, 'bin')] },
})
const write = async (more: object): Promise<void> => {
  const tls = { ca: 'n1/ca.crt', cert: 'n1/tls.crt', key: 'n1/tls.key' }
  const config = {
    node: 'n1',
    listen: `unix:${join(dir, 'agent.sock')}`,
    tls,
    stateDir: 'state',
    hardware: HARDWARE,
    adapters: [delegate()],
    ...more,
  }
  await writeFile(file(), stringify(config))
}
const plugin = async (name: string, body: string): Promise<void> => {
  await writeFile(join(dir, 'bin', name), `#!/bin/sh\n${body}\n`)
  await chmod(join(dir, 'bin', name), 0o755)
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'doctor-'))
  await createAuthority({ dir: join(dir, 'ca') })
  await issueCertificate({ authority: join(dir, 'ca'), role: 'agent', node: 'n1', out: join(dir, 'n1') })
  await mkdir(join(dir, 'bin'))
  for (const name of ['one', 'two']) await plugin(name, `echo '{"supportedVersions":["1.0.0"]}'`)
  await write({})
  agent = createServer().listen(join(dir, 'agent.sock'))
  await once(agent, 'listening')
})

afterEach(async () => {
  agent.close()
  await rm(dir, { recursive: true, force: true })
})

const look = async (): ReturnType<typeof diagnose> => await diagnose(await dpuChecks({ config: file(), clock: systemClock }))

describe('a DPU', { timeout: 120_000 }, () => {
  it('with all that it needs is in order', async () => {
    expect(await look()).toMatchObject({
      'agent.config': { state: 'ok' },
      'agent.tls.ca': { state: 'ok' },
      'agent.tls.cert': { state: 'ok' },
      'agent.tls.key': { state: 'ok' },
      'agent.state': { state: 'ok' },
      'agent.listen': { state: 'ok', seen: `unix:${join(dir, 'agent.sock')}` },
      'agent.hardware': { state: 'ok' },
      'agent.adapter.podnet': { state: 'ok', seen: 'delegate' },
      'agent.plugins.podnet': { state: 'ok', seen: 'one, two, version 1.0.0' },
    })
  })

  it('says that the agent does not listen', async () => {
    agent.close()
    expect((await look())['agent.listen']).toMatchObject({
      state: 'fail',
      why: expect.stringContaining('ENOENT') as string,
      remedy: expect.stringContaining('Start offload-agent') as string,
    })
  })

  it('says what cannot be loaded, and looks at the rest', async () => {
    await write({
      hardware: { plugin: './nothing.js' },
      adapters: [delegate(), { network: 'net1', plugin: moduleOf('@cni-offload/hw-soft') }],
    })
    expect(await look()).toMatchObject({
      'agent.config': { state: 'ok' },
      'agent.hardware': {
        state: 'fail',
        why: expect.stringContaining('hardware: plugin "./nothing.js"') as string,
        remedy: expect.stringContaining('Install') as string,
      },
      'agent.adapter.net1': { state: 'fail', why: expect.stringContaining('adapters.1') as string },
      'agent.plugins.podnet': { state: 'ok' },
    })
    await write({ node: 1 })
    expect((await look())['agent.config']).toMatchObject({ state: 'fail', why: expect.stringContaining('node = 1') as string })
  })

  it('says which plugin of a list is missing, or speaks another version', async () => {
    await plugin('two', `echo '{"supportedVersions":["0.4.0"]}'`)
    expect((await look())['agent.plugins.podnet']).toMatchObject({
      state: 'fail',
      why: expect.stringContaining('"two" speaks 0.4.0') as string,
    })
    await rm(join(dir, 'bin/one'))
    expect((await look())['agent.plugins.podnet']).toMatchObject({
      state: 'fail',
      why: `plugin "one" is in none of ${join(dir, 'bin')}`,
      remedy: expect.stringContaining('Install it there') as string,
    })
  })
})

describe('the kernel of a DPU', { timeout: 120_000 }, () => {
  const sysctls = async (value: string): Promise<string> => {
    await mkdir(join(dir, 'net/ipv4'), { recursive: true })
    await writeFile(join(dir, 'net/ipv4/ip_forward'), `${value}\n`)
    return dir
  }

  it.skipIf(!isRoot())(`is tried by a splice in a namespace that is gone afterwards (${ROOT_REASON})`, async () => {
    const scratch = uniqueName('dr')
    const results = await diagnose(kernelChecks({ net: createLinuxNet, scratch, sysctls: await sysctls('1'), families: ['ipv4'] }))
    expect(results).toMatchObject({
      'kernel.splice': { state: 'ok' },
      'kernel.forwarding.ipv4': { state: 'ok', seen: 'net.ipv4.ip_forward = 1' },
    })
    await using net = createLinuxNet()
    expect(await net.netnsIdentity(`/run/netns/${scratch}`)).toBeUndefined()
  })

  it.skipIf(!isRoot())(`is told when it cannot splice or does not forward (${ROOT_REASON})`, async () => {
    const scratch = uniqueName('dr')
    const lacking = (): LinuxNet => {
      const net = createLinuxNet()
      const apply = net.apply.bind(net)
      return Object.assign(net, {
        apply: async (...[netns, ops]: Parameters<LinuxNet['apply']>) => {
          if (ops.some(({ op }) => op === 'redirect.set')) throw new OffloadError('KERNEL_REFUSED', 'redirect.set eth0: ENOENT')
          await apply(netns, ops)
        },
      })
    }
    const results = await diagnose(kernelChecks({ net: lacking, scratch, sysctls: await sysctls('0'), families: ['ipv4', 'ipv6'] }))
    expect(results).toMatchObject({
      'kernel.splice': { state: 'fail', seen: 'redirect.set eth0: ENOENT', remedy: expect.stringContaining('NET_ACT_MIRRED') as string },
      'kernel.forwarding.ipv4': { state: 'fail', remedy: expect.stringContaining('sysctl -w net.ipv4.ip_forward=1') as string },
      'kernel.forwarding.ipv6': { state: 'fail' },
    })
    await using net = createLinuxNet()
    expect(await net.netnsIdentity(`/run/netns/${scratch}`)).toBeUndefined()
  })
})
