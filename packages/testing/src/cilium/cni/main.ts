#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { createLinuxNet } from '@cni-offload/linux'
import { CNI_VERSIONS, encodeResult, NEWEST_CNI_VERSION, parseEnvironment } from '@cni-offload/sdk/cni'
import { z } from 'zod'
import { AgentClient } from './agent-client.ts'
import { add } from './add.ts'
import { CniFailure, type PluginCall } from './call.ts'
import { check, del, status } from './verbs.ts'

const netconf = z.looseObject({ cniVersion: z.enum(CNI_VERSIONS).default('0.2.0') })

async function run(): Promise<string> {
  const env = parseEnvironment(process.env)
  if (env.verb === 'VERSION') return JSON.stringify({ cniVersion: NEWEST_CNI_VERSION, supportedVersions: CNI_VERSIONS })
  const { cniVersion: version, ...conf } = netconf.parse(JSON.parse(readFileSync(0, 'utf8')))
  await using net = createLinuxNet()
  const agent = new AgentClient(process.env['CILIUM_SOCK'] ?? '/var/run/cilium/cilium.sock')
  const call: PluginCall = { env, version, conf, agent, net }
  switch (env.verb) {
    case 'ADD':
      return encodeResult(await add(call), version)
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
      throw new CniFailure(4, `unknown CNI_COMMAND: ${env.verb}`)
  }
}

try {
  process.stdout.write(await run())
} catch (error) {
  const code = error instanceof CniFailure ? error.code : 999
  process.stdout.write(
    JSON.stringify({ cniVersion: NEWEST_CNI_VERSION, code, msg: error instanceof Error ? error.message : String(error) }),
  )
  process.exitCode = 1
}
