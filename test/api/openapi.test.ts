/**
 * The OpenAPI description: valid, complete, correct, and shown by a page without external
 * resources.
 */
import { Validator } from '@seriousme/openapi-schema-validator';
import t, { type Test } from 'tap';
import { Agent } from 'undici';
import { PROBLEMS } from '../../src/api/errors.js';
import { controlOverPlainDataPlane } from '../support/control.js';
import { type OpenApi, operationsOf, tryEveryCall } from '../support/openapi.js';

async function documentOf(t: Test, token = ''): Promise<OpenApi & Record<string, unknown>> {
  const { server } = await controlOverPlainDataPlane({ token });
  t.teardown(() => server.close());
  return (await server.inject('/openapi.json')).json();
}

t.test('the description is a valid OpenAPI 3.1 document', async (t) => {
  for (const token of ['', 'a'.repeat(64)]) {
    const document = await documentOf(t, token);
    t.equal(document.openapi, '3.1.0');
    const { valid, errors } = await new Validator().validate(structuredClone(document));
    t.ok(valid, 'the document is valid', { errors });
  }
});

t.test('every call documents its purpose and its errors', async (t) => {
  const calls = operationsOf(await documentOf(t));
  const documented = new Set<string>();
  for (const [id, { method, operation }] of calls) {
    t.ok(operation.summary && operation.tags.length === 1, `${id} has a summary and one tag`);
    const { responses, parameters = [] } = operation;
    for (const [status, { content }] of Object.entries(responses)) {
      const problem = content?.['application/problem+json']?.schema.properties?.code as { enum?: string[] };
      for (const code of problem?.enum ?? []) documented.add(code);
      t.equal(
        problem !== undefined,
        Number(status) >= 400,
        `${id}: status ${status} has a problem as body exactly if the status is an error`,
      );
    }
    for (const code of ['400', '403', '500']) t.ok(responses[code], `${id} documents ${code}`);
    for (const { name, description } of parameters)
      t.ok(description, `${id} describes its parameter ${name}`);
    if (method === 'PATCH') t.ok(responses['412'], `${id} documents 412`);
  }
  const rare = ['not_found', 'method_not_allowed'];
  t.same(
    Object.keys(PROBLEMS).filter((code) => !documented.has(code) && !rare.includes(code)),
    [],
    'every code is documented for some call',
  );
});

t.test('if a token is configured, each call documents whether it requires the token', async (t) => {
  const document = await documentOf(t, 'a'.repeat(64));
  t.match(document, { components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } } });
  t.match(document.paths['/v1/status'].get, { security: [{ token: [] }] });
  t.notOk('security' in document.paths['/healthz'].get);
});

t.test('every documented call answers as documented', async (t) => {
  const { server } = await controlOverPlainDataPlane();
  const dispatcher = new Agent();
  t.teardown(async () => {
    await dispatcher.destroy();
    await server.close();
  });
  const origin = await server.listen({ host: '127.0.0.1', port: 0 });
  await tryEveryCall(t, origin, dispatcher);
});

t.test('the page loads no external resources', async (t) => {
  const { server } = await controlOverPlainDataPlane();
  t.teardown(() => server.close());
  const page = await server.inject('/docs');
  t.equal(page.statusCode, 200);
  const policy = String(page.headers['content-security-policy']);
  t.match(policy, /^default-src 'none'; script-src 'self'; /);
  t.notMatch(policy, /https?:|\*|unsafe/);
  const links = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link);
  t.ok(links.length >= 4);
  for (const link of links) t.equal((await server.inject(link)).statusCode, 200, link);
  const { body } = await server.inject('/docs/static/swagger-initializer.js');
  t.match(body, /"validatorUrl":null/, 'the external validator is off');
  t.notMatch(page.body, /https?:/);
});
