import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hostOptions, readHostConfig } from '../../src/config/load.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'config-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))
const write = (text: string): string => {
  const file = join(dir, 'host.yaml')
  writeFileSync(file, text)
  return file
}

const GOOD = `
node: node-1
agent:
  address: tcp://10.0.0.2:8000
  tls: { ca: pki/ca.crt, cert: /etc/host.crt, key: pki/host.key }
hardware: { plugin: '@cni-offload/hw-soft', export: softHost, options: { device: soft0, vfs: 4 } }
`

const LIST = 'conflist: { cniVersion: 1.0.0, name: hostnet, plugins: [{ type: bridge }] }'

describe('readHostConfig', () => {
  it('fills in defaults and takes paths from the file’s folder', async () => {
    expect(await readHostConfig(write(GOOD))).toEqual({
      node: 'node-1',
      socket: '/run/cni-offload/host.sock',
      deviceInfo: { dir: '/var/run/k8s.cni.cncf.io/devinfo' },
      stateDir: '/var/lib/cni-offload/host',
      agent: {
        address: 'tcp://10.0.0.2:8000',
        tls: { ca: join(dir, 'pki/ca.crt'), cert: '/etc/host.crt', key: join(dir, 'pki/host.key') },
      },
      hardware: { plugin: '@cni-offload/hw-soft', export: 'softHost', options: { device: 'soft0', vfs: 4 } },
      root: '/',
      log: { level: 'info' },
    })
  })

  it.each([
    ['a node without a name', GOOD.replace('node: node-1', ''), 'node is missing'],
    ['an agent without TLS', GOOD.replace(/ {2}tls.*/, ''), 'agent.tls is missing'],
    ['an address without scheme', GOOD.replace('tcp://', ''), 'agent.address = "10.0.0.2:8000": tcp://host:port or unix:/path'],
    ['a misspelt key', `${GOOD}sokcet: /x\n`, 'sokcet'],
    ['a level that is none', `${GOOD}log: { level: loud }\n`, 'log.level = "loud"'],
    ['a fallback without a list', `${GOOD}fallback: { when: [dpu-down] }\n`, 'fallback.conflist is missing'],
    ['a fallback for reasons unknown', `${GOOD}fallback: { when: [rain], ${LIST} }\n`, 'fallback.when.0 = "rain"'],
    ['a fallback from a relative folder', `${GOOD}fallback: { binDirs: [bin], ${LIST} }\n`, 'fallback.binDirs.0 = "bin": an absolute path'],
    ['no YAML', 'a: [1', 'cannot be parsed'],
    ['an empty file', '', 'node is missing'],
  ])('refuses %s, naming the file', async (_what, text, expected) => {
    const file = write(text)
    const failure = await readHostConfig(file).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'INVALID_CONFIG', message: expect.stringContaining(file) })
    expect(failure).toMatchObject({ message: expect.stringContaining(expected) })
  })

  it('says which file it cannot read', async () => {
    await expect(readHostConfig('/no/such/host.yaml')).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining('/no/such/host.yaml'),
      hint: expect.stringContaining('--config'),
    })
  })
})

describe('hostOptions', () => {
  it('passes on what is advertised to kubelet', async () => {
    const file = write(`${GOOD}devicePlugin: { resources: [{ name: example.com/vf, select: { vfs: '0-3' } }] }\n`)
    const options = await hostOptions(await readHostConfig(file), file)
    expect(options.devicePlugin).toEqual({ resources: [{ name: 'example.com/vf', select: { vfs: '0-3' } }] })
    const wrong = write(`${GOOD}devicePlugin: { resources: [{ name: vf }] }\n`)
    await expect(readHostConfig(wrong)).rejects.toMatchObject({
      message: expect.stringContaining('devicePlugin.resources.0.name = "vf": domain/name'),
    })
  })

  it('loads the plugin that is installed beside the daemon', async () => {
    const file = write(GOOD)
    const options = await hostOptions(await readHostConfig(file), file)
    expect(options).toMatchObject({ node: 'node-1', hardware: { kind: 'host-device', name: 'soft' } })
  })

  it('has the fallback with its defaults', async () => {
    const file = write(`${GOOD}fallback: { ${LIST} }\n`)
    expect((await hostOptions(await readHostConfig(file), file)).fallback).toEqual({
      conflist: { cniVersion: '1.0.0', name: 'hostnet', disableCheck: false, plugins: [{ type: 'bridge' }] },
      binDirs: ['/opt/cni/bin', '/usr/lib/cni'],
      when: ['annotation'],
      noCheck: [],
    })
  })

  it('says which entry of which file is wrong', async () => {
    const file = write(GOOD.replace('vfs: 4', 'vfs: many'))
    await expect(hostOptions(await readHostConfig(file), file)).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringMatching(/host\.yaml: hardware: .*vfs = "many"/),
    })
    const missing = write(GOOD.replace('hw-soft', 'hw-none'))
    await expect(hostOptions(await readHostConfig(missing), missing)).rejects.toMatchObject({
      message: expect.stringContaining('@cni-offload/hw-none'),
      hint: expect.stringContaining('npm install'),
    })
  })
})
