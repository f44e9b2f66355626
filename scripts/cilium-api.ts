/**
 * Reduces `api/v1/openapi.yaml` of Cilium releases to the operations that are used here, and to what follows from them.
 * Usage: node scripts/cilium-api.ts VERSION=FILE …, for example 1.19.4=cilium/api/v1/openapi.yaml; writes packages/testing/openapi/1.19.json.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { CILIUM_OPERATIONS } from '../packages/testing/src/cilium/api-model.ts'
import { reduceApi } from './lib/reduce-api.ts'

const FOLDER = join(import.meta.dirname, '../packages/testing/openapi')

const wanted = process.argv.slice(2).map((argument) => argument.split('=', 2))
if (wanted.length === 0 || wanted.some(([version, file]) => !/^\d+\.\d+\.\d+$/.test(version ?? '') || (file ?? '') === '')) {
  console.error('usage: node scripts/cilium-api.ts VERSION=FILE …, with the path of the openapi.yaml of that release of Cilium')
  process.exit(2)
}
const files = wanted.map(([version = '', file = '']) => {
  const source = { module: 'github.com/cilium/cilium', version, path: 'api/v1/openapi.yaml', licence: 'Apache-2.0' }
  const target = join(FOLDER, `${version.slice(0, version.lastIndexOf('.'))}.json`)
  writeFileSync(target, JSON.stringify({ source, ...reduceApi(parse(readFileSync(file, 'utf8')), CILIUM_OPERATIONS) }))
  return target
})
process.exitCode = spawnSync('oxfmt', files, { stdio: 'inherit' }).status ?? 1
