#!/usr/bin/env node
// One of these is started for every call: what it imports decides how long that takes, so nothing but small modules of its own.
import { readFileSync } from 'node:fs'
import { add } from './add.ts'
import { AgentClient } from './agent-client.ts'
import { CniFailure } from './call.ts'
import { environmentOf } from './environment.ts'
import { fieldsOf, textIn } from './fields.ts'
import { encode, NEWEST, VERSIONS, versionOf } from './result.ts'
import { check, del, status } from './verbs.ts'

async function run(): Promise<string> {
  const { verb, ...env } = environmentOf(process.env)
  if (verb === 'VERSION') return JSON.stringify({ cniVersion: NEWEST, supportedVersions: VERSIONS })
  const conf = fieldsOf(JSON.parse(readFileSync(0, 'utf8')), 'the configuration')
  const version = versionOf(textIn(conf, 'cniVersion'))
  const agent = new AgentClient(process.env['CILIUM_SOCK'] ?? '/var/run/cilium/cilium.sock')
  const call = { env, conf, agent }
  switch (verb) {
    case 'ADD':
      return encode(await add(call), version)
    case 'DEL':
      await del(call)
      return ''
    case 'CHECK':
      await check(call)
      return ''
    case 'STATUS':
      await status(call)
      return ''
    default:
      throw new CniFailure(4, `unknown CNI_COMMAND: ${verb}`)
  }
}

try {
  process.stdout.write(await run())
} catch (error) {
  const code = error instanceof CniFailure ? error.code : 999
  process.stdout.write(JSON.stringify({ cniVersion: NEWEST, code, msg: error instanceof Error ? error.message : String(error) }))
  process.exitCode = 1
}
