import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agentOptions, readAgentConfig } from '../../src/index.ts'
import { rejection } from '../support/bench.ts'

const PLUGINS = new URL('../support/plugins.ts', import.meta.url).pathname

let dir: string
let file: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'agent-config-'))
  file = join(dir, 'agent.yaml')
})
afterEach(() => {
  rmSync(dir, { recursive: true, force: true })
})

const complete = {
  node: 'n1',
  listen: 'tcp://127.0.0.1:8000',
  tls: { ca: 'pki/ca.crt', cert: 'pki/tls.crt', key: '/etc/tls.key' },
  stateDir: 'state',
  hardware: { plugin: PLUGINS, options: { ports: 3 } },
  adapters: [
    { network: 'podnet', plugin: PLUGINS, export: 'fakeNet', ports: ['soft0/0-3', 'soft0/7'] },
    { network: '*', plugin: PLUGINS, export: 'otherNet' },
  ],
  metrics: { listen: '127.0.0.1:9402' },
  limits: { reconcileMs: 0, repairBurst: 4 },
  forget: ['gone'],
  log: { level: 'warn' },
}
const write = (config: unknown): void => {
  writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config))
}

describe('agent.yaml', () => {
  test('becomes the options of an agent; paths are relative to the file', async () => {
    write(complete)
    const options = await agentOptions(await readAgentConfig(file), file)
    expect(options).toMatchObject({
      node: 'n1',
      listen: 'tcp://127.0.0.1:8000',
      tls: { ca: join(dir, 'pki/ca.crt'), cert: join(dir, 'pki/tls.crt'), key: '/etc/tls.key' },
      stateDir: join(dir, 'state'),
      hardware: { kind: 'dpu-device', name: 'fake-card' },
      adapters: { podnet: { name: 'fake-net' }, '*': { name: 'other-net' } },
      ports: {
        podnet: [
          { device: 'soft0', first: 0, last: 3 },
          { device: 'soft0', first: 7, last: 7 },
        ],
        '*': [],
      },
      metrics: '127.0.0.1:9402',
      limits: { reconcileMs: 0, repairBurst: 4 },
      forget: ['gone'],
    })
  })

  test('has defaults for what is not about this node', async () => {
    const { stateDir: _1, metrics: _2, log: _3, ...needed } = complete
    write(needed)
    expect(await readAgentConfig(file)).toMatchObject({ stateDir: '/var/lib/cni-offload/agent', log: { level: 'info' } })
  })

  test.each([
    [{ node: 7 }, /node = 7/],
    [{ listen: '0.0.0.0:8000' }, /listen = "0.0.0.0:8000": tcp:\/\/host:port or unix:\/path/],
    [{ tls: { ca: 'a', cert: 'b' } }, /tls\.key is missing/],
    [{ adapters: [] }, /adapters.*at least one adapter/],
    [
      { adapters: [{ network: '*', plugin: 'p', ports: ['soft0'] }] },
      /adapters\.0\.ports\.0 = "soft0": device\/index or device\/first-last/,
    ],
    [{ adapters: [{ network: '*', plugin: 'p', ports: ['soft0/3-1'] }] }, /adapters\.0\.ports\.0 = "soft0\/3-1": the first index/],
    [{ adapters: [{ network: 'a/b', plugin: 'p' }] }, /adapters\.0\.network = "a\/b"/],
    [
      {
        adapters: [
          { network: 'a', plugin: 'p' },
          { network: 'a', plugin: 'q' },
        ],
      },
      /adapters\.1\.network = "a": each network only once/,
    ],
    [{ hardware: { plugin: 'p', optoins: {} } }, /hardware.*optoins/],
    [{ log: { level: 'loud' } }, /log\.level = "loud"/],
    [{ listne: 'x' }, /listne/],
  ])('%j is refused, naming file, path, value and what is expected', async (change, message) => {
    write({ ...complete, ...change })
    const error = await rejection(readAgentConfig(file))
    expect(error).toMatchObject({ code: 'INVALID_CONFIG', message: expect.stringMatching(message) as string })
    expect(error.message).toContain(file)
  })

  test.each(['node: [', '"just text"', '', '- a\n- b'])('%j is refused', async (text) => {
    write(text)
    expect(await rejection(readAgentConfig(file))).toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining(file) as string,
    })
  })

  test('a missing file is named', async () => {
    expect(await rejection(readAgentConfig(file))).toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining(file) as string,
    })
  })

  test.each([
    [{ hardware: { plugin: './nothing.ts' } }, /hardware: plugin "\.\/nothing\.ts"/],
    [{ hardware: { plugin: PLUGINS, export: 'fakeNet' } }, /hardware: .*dpu-device/],
    [{ hardware: { plugin: PLUGINS, options: { ports: 0 } } }, /hardware: .*ports = 0/],
    [{ adapters: [{ network: '*', plugin: PLUGINS }] }, /adapters\.0: .*choose one of: fakeNet, otherNet/],
  ])('%j: a plugin that does not load is named with its place in the file', async (change, message) => {
    write({ ...complete, ...change })
    expect(await rejection(agentOptions(await readAgentConfig(file), file))).toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringMatching(message) as string,
    })
  })

  test('a plugin beside the file is found by relative path', async () => {
    writeFileSync(join(dir, 'mine.ts'), `export { fakeCard } from '${PLUGINS}'\n`)
    write({ ...complete, hardware: { plugin: './mine.ts' } })
    expect((await agentOptions(await readAgentConfig(file), file)).hardware.name).toBe('fake-card')
  })
})
