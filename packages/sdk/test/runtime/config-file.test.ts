import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { definePlugin } from '../../src/index.ts'
import { loadPluginOf, pathsFrom, readConfigFile } from '../../src/runtime/index.ts'

const schema = z.strictObject({ node: z.string() })

describe('readConfigFile', () => {
  let dir: string
  let file: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'config-file-'))
    file = join(dir, 'daemon.json')
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  const read = (text: string): Promise<unknown> => {
    writeFileSync(file, text)
    return readConfigFile(file, schema, (content) => JSON.parse(content) as unknown)
  }

  it('gives what the schema makes of it', async () => {
    expect(await read('{"node":"a"}')).toEqual({ node: 'a' })
  })

  it.each([
    ['{"node":', /daemon\.json cannot be parsed: /],
    ['{"node":7}', /daemon\.json: node = 7/],
    ['{"node":"a","x":1}', /daemon\.json: .*x/],
  ])('refuses %s, naming the file', async (text, message) => {
    await expect(read(text)).rejects.toMatchObject({ code: 'INVALID_CONFIG', message: expect.stringMatching(message) })
  })

  it('leaves out the excerpt that a parser shows below its message', async () => {
    writeFileSync(file, '')
    const parse = (): never => {
      throw new Error('bad at line 1\n\nnode: [\n      ^\n')
    }
    await expect(readConfigFile(file, schema, parse)).rejects.toMatchObject({ message: `${file} cannot be parsed: bad at line 1` })
  })

  it('says what to do about a file that is not there', async () => {
    await expect(readConfigFile(join(dir, 'none'), schema, JSON.parse)).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringMatching(/none cannot be read: ENOENT/),
      hint: expect.stringContaining('--config'),
    })
  })
})

describe('pathsFrom', () => {
  it('resolves against the folder of the file', () => {
    const absolute = pathsFrom('/etc/offload/host.yaml')
    expect([absolute('pki/ca.crt'), absolute('../x'), absolute('/run/s')]).toEqual(['/etc/offload/pki/ca.crt', '/etc/x', '/run/s'])
  })
})

describe('loadPluginOf', () => {
  const card = definePlugin({
    kind: 'dpu-device',
    name: 'card',
    specVersion: 'v1',
    options: z.strictObject({ ports: z.number() }),
    create: () => Promise.reject(new Error('not made here')),
  })
  const place = { file: '/etc/agent.yaml', entry: 'hardware' }
  const load = (options: Record<string, unknown>): Promise<unknown> =>
    loadPluginOf(place, 'dpu-device', { plugin: 'p', options }, () => Promise.resolve({ card }))

  it('loads', async () => {
    expect(await load({ ports: 1 })).toMatchObject({ kind: 'dpu-device', name: 'card' })
  })

  it('names file and entry in front of what is wrong, and keeps cause and remedy', async () => {
    await expect(load({ ports: 'many' })).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringMatching(/^\/etc\/agent\.yaml: hardware: .*ports = "many"/),
      cause: expect.objectContaining({ code: 'INVALID_CONFIG' }),
    })
    const missing = loadPluginOf(place, 'dpu-device', { plugin: 'no-such-plugin' }, () => Promise.reject(new Error('not found')))
    await expect(missing).rejects.toMatchObject({
      message: expect.stringContaining('not found'),
      hint: expect.stringContaining('npm install'),
    })
  })
})
