// What a dashboard of the kit may be, stricter than Grafana's own schema: every panel has the options of its
// kind, and a query the keys of its data source. test_shape.py appends the dashboards and has tsc check them.

import type { Dashboard, DataSourceRef, FieldConfig, FieldConfigSource, Panel, VariableModel } from '@grafana/schema';
import type * as Heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as Stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as Table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as TimeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON has the values of enums, not their names.
type Plain<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : unknown extends T
      ? T
      : { [K in keyof T]: Plain<T[K]> };

interface InfluxQuery {
  refId: string;
  datasource: { type: 'influxdb'; uid: '${datasource}' };
  rawQuery: true;
  query: string;
  resultFormat: 'time_series' | 'table';
  alias?: string;
}

interface PrometheusQuery {
  refId: string;
  datasource: { type: 'prometheus'; uid: '${datasource}' };
  expr: string;
  legendFormat: string;
  editorMode?: 'code';
  format?: 'time_series' | 'table';
  range?: boolean;
  instant?: boolean;
}

interface Transformation {
  id: 'organize' | 'joinByField' | 'formatTime' | 'concatenate' | 'convertFieldType' | 'groupingToMatrix';
  filter?: { id: 'byRefId'; options: string };
  options: Record<string, unknown>;
}

interface PanelOf<Kind, Options, Custom> extends Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets' | 'transformations'> {
  id: number;
  type: Kind;
  title: string;
  datasource: DataSourceRef;
  gridPos: { x: number; y: number; w: number; h: number };
  options: Partial<Options>;
  fieldConfig: Omit<FieldConfigSource, 'defaults'> & {
    defaults: Omit<FieldConfig, 'custom'> & { custom?: Partial<Custom> };
  };
  targets: Array<InfluxQuery | PrometheusQuery>;
  transformations?: Transformation[];
}

type AnyPanel =
  | PanelOf<'heatmap', Heatmap.Options, Heatmap.FieldConfig>
  | PanelOf<'stat', Stat.Options, Record<string, never>>
  | PanelOf<'table', Table.Options, Table.FieldConfig>
  | PanelOf<'timeseries', TimeSeries.Options, TimeSeries.FieldConfig>;

type Checked = Plain<
  Omit<Dashboard, 'panels' | 'templating'> & {
    uid: string;
    title: string;
    panels: AnyPanel[];
    templating: { list: Array<VariableModel & { definition?: string }> };
  }
>;

